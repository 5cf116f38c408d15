#include "cli/plot/axis.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/check.h"

namespace fathom::cli::plot {

namespace {

// The largest time unit of which the axis is at least two long.
struct TimeUnit {
  double seconds;
  const char* name;
};
constexpr std::array<TimeUnit, 4> kTimeUnits = {{{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}}};

TimeUnit time_unit(double length) {
  for (const TimeUnit& unit : kTimeUnits) {
    if (length >= 2 * unit.seconds) return unit;
  }
  return kTimeUnits.back();
}

// The smallest of 1, 2, 5 times a power of ten that is at least `least`.
double nice_at_least(double least) {
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

// Digits behind the point that multiples of `step` need.
int digits_behind(double step) {
  return std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 9);
}

// As many digits as values `step` apart need.
std::string plain(double value, double step) {
  const double size = std::fabs(value);
  if (size < step / 1e6) return fixed(0.0, step < 1e-4 ? 0 : digits_behind(step));
  if (size >= 1e7 || size < 1e-4) {
    const int digits =
        static_cast<int>(std::floor(std::log10(size)) - std::floor(std::log10(step) + 1e-9)) + 1;
    char text[64];
    std::snprintf(text, sizeof text, "%.*g", std::clamp(digits, 1, 12), value);
    return text;
  }
  return fixed(value, digits_behind(step));
}

}  // namespace

Axis::Axis(double low, double high, bool log, Unit unit) : low_(low), high_(high), log_(log), unit_(unit) {
  FATHOM_CHECK(low <= high && (!log || low > 0), fixed(low, 6) + " to " + fixed(high, 6));
  // Ends that doubles can hardly tell apart leave no room for steps between them.
  constexpr double kLeastLength = 1e-12;  // of the magnitude
  if (high_ - low_ > kLeastLength * std::max(std::fabs(low_), std::fabs(high_))) return;
  const double room = log_ ? 0.5 * low_ : std::max(0.5, std::fabs(low_) / 2);
  low_ -= room;
  high_ += room;
}

double Axis::place(double value) const {
  if (!log_) return (value - low_) / (high_ - low_);
  return std::log(value / low_) / std::log(high_ / low_);
}

double Axis::step_for(int most) const {
  const double length = high_ - low_;
  if (unit_ != Unit::kSeconds) {
    const double step = nice_at_least(length / most);
    return unit_ == Unit::kCount ? std::max(1.0, step) : step;
  }
  const double unit = time_unit(length).seconds;
  const double in_units = length / unit / most;
  // Parts of an hour or a minute that people count in.
  if (unit >= 60 && in_units < 1) {
    const double parts = unit == 86400 ? 24 : 60;
    for (const double part : {1.0, 2.0, 3.0, 5.0, 6.0, 10.0, 12.0, 15.0, 20.0, 30.0}) {
      if (std::fmod(parts, part) == 0 && part / parts >= in_units) return unit * part / parts;
    }
  }
  return unit * nice_at_least(in_units);
}

// In units, so that they are round where they are read.
std::vector<Tick> Axis::log_ticks(int most) const {
  const double unit = unit_ == Unit::kSeconds ? time_unit(high_ - low_).seconds : 1;
  const auto first = static_cast<int>(std::floor(std::log10(low_ / unit) + 1e-12));
  const auto last = static_cast<int>(std::ceil(std::log10(high_ / unit) - 1e-12));
  const auto add = [&](std::vector<Tick>& ticks, double factor, int power) {
    const double step = std::pow(10.0, power) * unit, value = factor * step;
    if (value >= low_ * (1 - 1e-9) && value <= high_ * (1 + 1e-9))
      ticks.push_back({value, label(value, step)});
  };
  // Finest first; coarser ones until few enough are left.
  static const std::vector<std::vector<double>> kFactors = {
      {1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 5}, {1, 3}, {1}};
  std::vector<Tick> ticks;
  for (const std::vector<double>& factors : kFactors) {
    ticks.clear();
    for (int power = first; power <= last; ++power) {
      for (const double factor : factors) add(ticks, factor, power);
    }
    if (static_cast<int>(ticks.size()) <= most) return ticks;
  }
  ticks.clear();
  for (int power = first; power <= last; power += (last - first) / most + 1) add(ticks, 1, power);
  return ticks;
}

std::vector<Tick> Axis::ticks(int most) const {
  std::vector<Tick> found;
  if (log_) found = log_ticks(most);
  if (found.size() >= 2) return found;
  found.clear();
  double step = step_for(most);
  for (int tries = 0; tries < 3; ++tries, step /= 2) {
    for (double n = std::ceil(low_ / step - 1e-9); n * step <= high_ + 1e-9 * step; n += 1) {
      found.push_back({n * step, label(n * step, step)});
    }
    if (found.size() >= 2) break;
    found.clear();
  }
  return found;
}

void Axis::widen_to_ticks(int most) {
  if (log_) return;  // powers of ten may be far away
  const double step = step_for(most);
  low_ = std::floor(low_ / step + 1e-9) * step;
  high_ = std::ceil(high_ / step - 1e-9) * step;
}

std::string Axis::label(double value, double step) const {
  if (unit_ == Unit::kSeconds) {
    const double unit = time_unit(high_ - low_).seconds;
    return plain(value / unit, step / unit);
  }
  if (unit_ == Unit::kNumber) return plain(value, step);
  static constexpr std::array<std::pair<double, const char*>, 7> kPrefixes = {
      {{1e21, " Z"}, {1e18, " E"}, {1e15, " P"}, {1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}}};
  if (high_ < 1e4) return plain(value, step);
  for (const auto& [size, name] : kPrefixes) {
    if (std::fabs(value) >= size * (1 - 1e-9)) return plain(value / size, step / size) + name;
  }
  return plain(value, step);
}

std::string Axis::unit_name() const { return unit_ == Unit::kSeconds ? time_unit(high_ - low_).name : ""; }

}  // namespace fathom::cli::plot
