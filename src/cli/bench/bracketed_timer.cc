#include "cli/bench/bracketed_timer.h"

namespace fathom::cli::bench {

BracketedTimer::Reading BracketedTimer::take_reading() {
  const double gemm = kernels::measure_multiply_peak(product_type_, parallel_, clock_).flops_per_second;
  return {probe_.measure(), gemm};
}

void BracketedTimer::begin() {
  sum_ = {};
  before_ = take_reading();
  started_ = clock_.seconds();
}

void BracketedTimer::lap() {
  const double seconds = clock_.seconds() - started_;
  if (seconds < kSliceSeconds) return;
  close_slice(seconds);
  started_ = clock_.seconds();
}

Repetition BracketedTimer::end() {
  close_slice(clock_.seconds() - started_);
  sum_.read_peak /= sum_.seconds;
  sum_.gemm_peak /= sum_.seconds;
  return sum_;
}

void BracketedTimer::close_slice(double seconds) {
  const Reading after = take_reading();
  sum_.seconds += seconds;
  sum_.read_peak += seconds * (before_.read + after.read) / 2;
  sum_.gemm_peak += seconds * (before_.gemm + after.gemm) / 2;
  before_ = after;
}

}  // namespace fathom::cli::bench
