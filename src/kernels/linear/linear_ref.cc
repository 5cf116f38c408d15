#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/half.h"
#include "kernels/linear/linear.h"

namespace fathom::kernels {

float linear_quantise_row_ref(const float* x, int64_t in, int16_t* quantised) {
  float most = 0;
  bool finite = true;
  for (int64_t i = 0; i < in; ++i) {
    most = std::max(most, std::fabs(x[i]));
    finite = finite && std::isfinite(x[i]);
  }
  std::fill(quantised, quantised + in, int16_t{0});
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  const float scale = most / kLinearRowLimit;
  if (scale == 0) return 0;
  for (int64_t i = 0; i < in; ++i) {
    // Next to the smallest floats the quotient can exceed the limit.
    const float whole = std::clamp(std::nearbyint(x[i] / scale), -kLinearRowLimit, kLinearRowLimit);
    quantised[i] = static_cast<int16_t>(whole);
  }
  return scale;
}

void linear_fwd_ref(const LinearFwd& args) {
  std::vector<int16_t> row(static_cast<size_t>(args.in));
  for (int64_t r = 0; r < args.rows; ++r) {
    const bool whole = args.weight_type == DType::kI8;
    const float* const values = args.x + r * args.x_stride;
    const double row_scale = whole ? linear_quantise_row_ref(values, args.in, row.data()) : 1.0;
    for (int64_t o = 0; o < args.out; ++o) {
      double total = 0;
      for (int64_t i = 0; i < args.in; ++i) {
        const float x = values[i];
        if (whole) {
          total +=
              double{row[static_cast<size_t>(i)]} * static_cast<const int8_t*>(args.weight)[o * args.in + i];
        } else if (args.weight_type == DType::kF32) {
          total += double{x} * static_cast<const float*>(args.weight)[o * args.in + i];
        } else {
          total += double{round_to_bfloat16(x)} *
                   to_float(static_cast<const BFloat16*>(args.weight)[o * args.in + i]);
        }
      }
      if (whole) total *= row_scale * args.weight_scale[o];
      if (args.out_scale != nullptr) total *= args.out_scale[o];
      if (args.bias != nullptr) total += args.bias[o];
      float& y = args.y[r * args.y_stride + o];
      y = static_cast<float>((args.accumulate ? double{y} : 0.0) + args.scale * total);
    }
  }
}

}  // namespace fathom::kernels
