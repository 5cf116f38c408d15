#include "base/check.h"

#include <cstring>

namespace fathom {

void check_failed(const char* file, int line, const char* condition, const std::string& message) {
  const char* slash = std::strrchr(file, '/');
  throw CheckFailure(std::string(slash != nullptr ? slash + 1 : file) + ":" + std::to_string(line) +
                     ": internal check failed: " + condition + " (" + message + ")");
}

}  // namespace fathom
