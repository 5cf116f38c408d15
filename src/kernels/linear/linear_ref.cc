#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/half.h"
#include "base/int4.h"
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

namespace {

// The weight of input i of output o, but for the scale of an int8 row.
double weight_of(const LinearFwd& args, int64_t o, int64_t i) {
  const int64_t at = o * args.in + i;
  switch (args.weight_type) {
    case DType::kI4: {
      const int4::Place place = int4::place_of(i, args.in, args.group);
      const int64_t byte = o * int4::row_bytes(args.in) + place.byte;
      const int64_t word_at = o * int4::groups_of(args.in, args.group) + i / args.group;
      uint16_t word;
      std::memcpy(&word, static_cast<const uint8_t*>(args.groups) + 2 * word_at, sizeof word);
      const int q = static_cast<const uint8_t*>(args.weight)[byte] >> place.shift & int4::kMost;
      return double{int4::scale_of(word)} * (q - int4::zero_of(word));
    }
    case DType::kI8:
      return static_cast<const int8_t*>(args.weight)[at];
    case DType::kF32:
      return static_cast<const float*>(args.weight)[at];
    default:
      return to_float(static_cast<const BFloat16*>(args.weight)[at]);
  }
}

}  // namespace

void linear_fwd_ref(const LinearFwd& args) {
  std::vector<int16_t> row(static_cast<size_t>(args.in));
  for (int64_t r = 0; r < args.rows; ++r) {
    const bool whole = args.weight_type == DType::kI8 || args.weight_type == DType::kI4;
    const float* const values = args.x + r * args.x_stride;
    const double row_scale = whole ? linear_quantise_row_ref(values, args.in, row.data()) : 1.0;
    for (int64_t o = 0; o < args.out; ++o) {
      double total = 0;
      for (int64_t i = 0; i < args.in; ++i) {
        const float x = whole                              ? row[static_cast<size_t>(i)]
                        : args.weight_type == DType::kBF16 ? round_to_bfloat16(values[i])
                                                           : values[i];
        total += x * weight_of(args, o, i);
      }
      total *= row_scale;
      if (args.weight_scale != nullptr) total *= args.weight_scale[o];
      if (args.out_scale != nullptr) total *= args.out_scale[o];
      if (args.bias != nullptr) total += args.bias[o];
      float& y = args.y[r * args.y_stride + o];
      y = static_cast<float>((args.accumulate ? double{y} : 0.0) + args.scale * total);
    }
  }
}

}  // namespace fathom::kernels
