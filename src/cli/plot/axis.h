// One axis of a chart: from values to places, and the values that get a tick.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fathom::cli::plot {

struct Tick {
  double value = 0;
  std::string label;
};

// What values count in, which decides how ticks are written.
enum class Unit : uint8_t {
  kNumber,  // 0.25, 3, 1200
  kCount,   // 20 k, 1.5 M, 3 G, 2 T, ...
  kSeconds  // s, min, h or d, by the length of the axis
};

class Axis {
 public:
  // Through all of [low, high], widened where both are equal or as good as that. `log` needs low > 0.
  Axis(double low, double high, bool log, Unit unit);

  double low() const { return low_; }
  double high() const { return high_; }
  // 0 at low, 1 at high; outside for values that are outside.
  double place(double value) const;

  // At 1, 2 or 5 times a power of ten (of seconds: also at parts of minutes, hours and days), in [low, high],
  // ascending: at most about `most`, at least 2. A logarithmic axis of a decade or more takes powers of ten
  // first.
  std::vector<Tick> ticks(int most) const;
  // Moves the ends outward to the next ticks.
  void widen_to_ticks(int most);
  // "", "min", ...: stands behind the axis's name.
  std::string unit_name() const;

 private:
  double step_for(int most) const;
  std::vector<Tick> log_ticks(int most) const;
  std::string label(double value, double step) const;
  double low_, high_;
  bool log_;
  Unit unit_;
};

}  // namespace fathom::cli::plot
