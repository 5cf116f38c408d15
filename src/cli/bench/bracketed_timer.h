// Times work on a machine whose speed drifts: the peaks are read before, between and after slices of it.
#pragma once

#include "base/clock.h"
#include "cli/bench/measurement.h"
#include "kernels/peaks/peaks.h"

namespace fathom::cli::bench {

// begin(), then work with a lap() wherever it may pause, then end(). A slice of work ends at the first lap
// after a quarter of a second; its peaks are the mean of the readings on its two sides, those of the whole
// are the slices' weighted by their time. Readings are not part of the time.
class BracketedTimer {
 public:
  BracketedTimer(kernels::ReadProbe& probe, DType product_type, Parallel& parallel, Clock& clock)
      : probe_(probe), product_type_(product_type), parallel_(parallel), clock_(clock) {}

  void begin();
  void lap();
  Repetition end();

 private:
  static constexpr double kSliceSeconds = 0.25;
  struct Reading {
    double read, gemm;
  };
  Reading take_reading();
  void close_slice(double seconds);

  kernels::ReadProbe& probe_;
  const DType product_type_;
  Parallel& parallel_;
  Clock& clock_;
  Reading before_{};
  double started_ = 0;
  Repetition sum_;  // the peaks weighted by seconds
};

}  // namespace fathom::cli::bench
