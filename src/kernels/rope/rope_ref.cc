#include <cmath>
#include <string>

#include "base/check.h"
#include "base/half.h"
#include "kernels/rope/rope.h"

namespace fathom::kernels {

void rope_table(float* cos, float* sin, int64_t positions, int64_t head_dim, double theta, bool round_to_bf16,
                bool round_frequencies_to_bf16) {
  const int64_t half = head_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float power = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const float exact = 1.0F / std::pow(static_cast<float>(theta), power);
    const float frequency = round_frequencies_to_bf16 ? round_to_bfloat16(exact) : exact;
    for (int64_t p = 0; p < positions; ++p) {
      const float angle = static_cast<float>(p) * frequency;
      const auto c = static_cast<float>(std::cos(double{angle})),
                 s = static_cast<float>(std::sin(double{angle}));
      cos[p * half + i] = round_to_bf16 ? round_to_bfloat16(c) : c;
      sin[p * half + i] = round_to_bf16 ? round_to_bfloat16(s) : s;
    }
  }
}

void rope_fwd_ref(const RopeFwd& args) {
  const int64_t half = args.head_dim / 2;
  for (int64_t r = 0; r < args.rows; ++r) {
    FATHOM_CHECK(args.positions[r] >= 0 && args.positions[r] < args.table_positions,
                 "position " + std::to_string(args.positions[r]) + ", the rotary table has " +
                     std::to_string(args.table_positions));
    for (int64_t h = 0; h < args.heads; ++h) {
      float* x = args.x + r * args.x_stride + h * args.head_dim;
      for (int64_t i = 0; i < half; ++i) {
        const double c = args.cos[args.positions[r] * half + i];
        const double s = (args.inverse ? -1.0 : 1.0) * args.sin[args.positions[r] * half + i];
        const double a = x[i], b = x[i + half];
        x[i] = static_cast<float>(a * c - b * s);
        x[i + half] = static_cast<float>(b * c + a * s);
      }
    }
  }
}

}  // namespace fathom::kernels
