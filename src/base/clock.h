// Monotonic time, injectable: code that schedules or reports rates takes a Clock&, tests give it a FakeClock.
#pragma once

#include <chrono>

namespace fathom {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual double seconds() = 0;  // since an arbitrary start, never decreasing
};

class SteadyClock final : public Clock {
 public:
  double seconds() override {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
};

class FakeClock final : public Clock {
 public:
  double seconds() override { return now_; }
  void advance(double seconds) { now_ += seconds; }

 private:
  double now_ = 0;
};

}  // namespace fathom
