#include "cli/flag_checks.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
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
        return number && fits(*number) ? std::string() : "'" + value + "' is not a " + wanted;
      },
      range);
}

// An upper limit that is the type's own is told by its bits.
template <class Integer>
CLI::Validator integer_check(Integer least, Integer most) {
  const bool bounded = most < std::numeric_limits<Integer>::max();
  const std::string low = std::to_string(least), high = std::to_string(most);
  const std::string bits = std::to_string(std::numeric_limits<Integer>::digits);
  const std::string wanted =
      bounded ? "of " + low + " to " + high : "of at least " + low + " and below 2^" + bits;
  return CLI::Validator(
      [=](std::string& value) {
        Integer number = 0;
        const char* const end = value.data() + value.size();
        const auto [rest, error] = std::from_chars(value.data(), end, number);
        const bool fits = error == std::errc() && rest == end && number >= least && number <= most;
        return fits ? std::string() : "'" + value + "' is not a whole number " + wanted;
      },
      bounded ? "[" + low + " - " + high + "]" : ">= " + low);
}

}  // namespace

CLI::Validator whole_number(int64_t least, int64_t most) { return integer_check(least, most); }

CLI::Validator seed_number() { return integer_check(uint64_t{0}, std::numeric_limits<uint64_t>::max()); }

CLI::Validator between(double least, double most) {
  return number_check([least, most](double number) { return number >= least && number <= most; },
                      "number of " + shown(least) + " to " + shown(most),
                      "[" + shown(least) + " - " + shown(most) + "]");
}

CLI::Validator at_least(double least) {
  return number_check([least](double number) { return number >= least; },
                      "finite number of at least " + shown(least), ">= " + shown(least));
}

CLI::Validator above(double least) {
  return number_check([least](double number) { return number > least; },
                      "finite number above " + shown(least), "> " + shown(least));
}

CLI::Validator thread_count() { return whole_number(0, kMostThreads); }

CLI::Validator not_empty() {
  return CLI::Validator(
      [](std::string& value) { return value.empty() ? std::string("an empty text") : std::string(); }, "");
}

}  // namespace fathom::cli
