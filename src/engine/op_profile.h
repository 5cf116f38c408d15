// Where the time of an executor goes.
#pragma once

#include <array>

#include "base/clock.h"
#include "engine/op_observer.h"

namespace fathom {

class OpProfile final : public OpObserver {
 public:
  struct Entry {
    double seconds = 0;
    int64_t calls = 0;
  };

  explicit OpProfile(Clock& clock) : clock_(clock) {}

  void begin(EngineOp /*op*/) override { started_ = clock_.seconds(); }
  void end(EngineOp op) override {
    Entry& entry = entries_[static_cast<size_t>(op)];
    entry.seconds += clock_.seconds() - started_;
    ++entry.calls;
  }

  const Entry& at(EngineOp op) const { return entries_[static_cast<size_t>(op)]; }
  double seconds() const {
    double total = 0;
    for (const Entry& entry : entries_) total += entry.seconds;
    return total;
  }

 private:
  Clock& clock_;
  double started_ = 0;
  std::array<Entry, kEngineOps> entries_;
};

}  // namespace fathom
