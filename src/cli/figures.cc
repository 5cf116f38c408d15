#include "cli/figures.h"

#include <cstdint>
#include <cstdio>

namespace fathom::cli {

std::string rounded(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string short_count(double count) {
  if (count >= 1e12) return rounded(count / 1e12, 2) + " T";
  if (count >= 1e9) return rounded(count / 1e9, 2) + " G";
  if (count >= 1e6) return rounded(count / 1e6, 2) + " M";
  if (count >= 1e4) return rounded(count / 1e3, 1) + " k";
  return rounded(count, 0);
}

std::string duration(double seconds) {
  const auto whole = static_cast<long>(seconds);
  char text[64];
  if (whole >= 3600) {
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%ld:%02ld", whole / 60, whole % 60);
  }
  return text;
}

}  // namespace fathom::cli
