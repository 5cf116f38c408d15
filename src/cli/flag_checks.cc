#include "cli/flag_checks.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>

namespace fathom::cli {

namespace {

constexpr int64_t kMostThreads = 4096;

std::optional<double> finite(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(number)) return std::nullopt;
  return number;
}

std::string shown(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", number);
  return text;
}

// `wanted` completes the sentence "'x' is not ...", `range` stands in --help.
CLI::Validator number_check(const std::function<bool(double)>& fits, const std::string& wanted,
                            const std::string& range) {
  return CLI::Validator(
      [fits, wanted](std::string& value) {
        const std::optional<double> number = finite(value);
        return number && fits(*number) ? std::string() : "'" + value + "' is not a number " + wanted;
      },
      range);
}

}  // namespace

CLI::Validator whole_number(int64_t least, int64_t most) {
  const bool bounded = most != std::numeric_limits<int64_t>::max();
  const std::string range =
      bounded ? std::to_string(least) + " to " + std::to_string(most) : "at least " + std::to_string(least);
  return CLI::Validator(
      [least, most, range](std::string& value) {
        int64_t number = 0;
        const char* const end = value.data() + value.size();
        const auto [rest, error] = std::from_chars(value.data(), end, number);
        const bool fits = error == std::errc() && rest == end && number >= least && number <= most;
        return fits ? std::string() : "'" + value + "' is not a whole number of " + range;
      },
      bounded ? "[" + std::to_string(least) + " - " + std::to_string(most) + "]"
              : ">= " + std::to_string(least));
}

CLI::Validator between(double least, double most) {
  return number_check([least, most](double number) { return number >= least && number <= most; },
                      "of " + shown(least) + " to " + shown(most),
                      "[" + shown(least) + " - " + shown(most) + "]");
}

CLI::Validator at_least(double least) {
  return number_check([least](double number) { return number >= least; }, "of at least " + shown(least),
                      ">= " + shown(least));
}

CLI::Validator above(double least) {
  return number_check([least](double number) { return number > least; }, "above " + shown(least),
                      "> " + shown(least));
}

CLI::Validator thread_count() { return whole_number(0, kMostThreads); }

}  // namespace fathom::cli
