// What every kernel test needs: reproducible inputs, outputs that are NaN until written, pointers that are
// not aligned, error measures, finite differences, and a loop over every instruction-set level of this
// machine.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/isa.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/worse_of.h"

namespace fathom::kernels::testing {

// `count` floats at an address that is 4-byte but not 8-byte aligned, followed by a guard zone that intact()
// checks.
class Buffer {
 public:
  explicit Buffer(int64_t count, float fill = std::numeric_limits<float>::quiet_NaN())
      : storage_(static_cast<size_t>(count + 1 + kGuard), kGuardValue), count_(count) {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    offset_ = address % 8 == 0 ? 1 : 0;
    for (int64_t i = 0; i < count; ++i) data()[i] = fill;
  }
  static Buffer normal(int64_t count, uint64_t stream, float scale = 1.0F, float shift = 0.0F) {
    Buffer out(count);
    for (int64_t i = 0; i < count; ++i)
      out[i] = shift + scale * fathom::normal(7, stream, static_cast<uint64_t>(i));
    return out;
  }

  float* data() { return storage_.data() + offset_; }
  const float* data() const { return storage_.data() + offset_; }
  int64_t size() const { return count_; }
  float& operator[](int64_t i) { return data()[i]; }
  float operator[](int64_t i) const { return data()[i]; }
  bool intact() const {
    for (int64_t i = count_; i < count_ + kGuard; ++i) {
      if (data()[i] != kGuardValue) return false;
    }
    return true;
  }

 private:
  static constexpr int64_t kGuard = 32;
  static constexpr float kGuardValue = 12345.5F;
  std::vector<float> storage_;
  int64_t count_;
  int64_t offset_;
};

// max|a - b| / max|b|; infinity if anything is NaN. The measure of docs/numerics.md.
inline double relative_error(const Buffer& a, const Buffer& b) {
  double worst = 0, scale = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    worst = worse_of(worst, std::fabs(double{a[i]} - double{b[i]}));
    scale = std::max(scale, std::fabs(double{b[i]}));
  }
  return scale > 0 ? worst / scale : worst;
}

inline bool same_bits(const Buffer& a, const Buffer& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), static_cast<size_t>(a.size()) * sizeof(float)) == 0;
}

// sum_i y[i] * g[i]: turns an output into a loss whose gradient with respect to y is g.
inline double dot(const Buffer& y, const Buffer& g) {
  double total = 0;
  for (int64_t i = 0; i < y.size(); ++i) total += double{y[i]} * double{g[i]};
  return total;
}

// Central differences of `loss` with respect to every element of `input` against `grad`. Values are float, so
// the step is coarse and the bound checks the formula, not the last digit.
inline void expect_gradient(Buffer& input, const Buffer& grad, const std::function<double()>& loss,
                            double bound = 5e-3, float step = 1e-2F) {
  double worst = 0, scale = 1e-6;
  for (int64_t i = 0; i < input.size(); ++i) {
    const float kept = input[i];
    input[i] = kept + step;
    const double up = loss();
    input[i] = kept - step;
    const double down = loss();
    input[i] = kept;
    const double expected = (up - down) / (2.0 * step);
    worst = worse_of(worst, std::fabs(expected - grad[i]));
    scale = std::max(scale, std::fabs(expected));
  }
  EXPECT_LE(worst / scale, bound);
}

// Calls body for every level this machine supports, with that level in force.
inline void for_each_level(const std::function<void()>& body) {
  for (IsaLevel level : supported_isa_levels()) {
    SCOPED_TRACE(std::string(name_of(level)));
    ScopedIsaLevel scoped(level);
    body();
  }
}

}  // namespace fathom::kernels::testing
