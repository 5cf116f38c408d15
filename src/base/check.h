// Checks of invariants that hold in release builds too. A failed check throws CheckFailure: it ends the
// request or the command that met it, with a sentence, and never the process of a server.
#pragma once

#include <stdexcept>
#include <string>

namespace fathom {

class CheckFailure : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);

}  // namespace fathom

// FATHOM_CHECK(rows > 0, "rows = " + std::to_string(rows)); the message is only built on failure.
#define FATHOM_CHECK(condition, message)                                               \
  do {                                                                                 \
    if (!(condition)) ::fathom::check_failed(__FILE__, __LINE__, #condition, message); \
  } while (false)
