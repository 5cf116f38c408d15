#include "base/half.h"
#include "kernels/linear/linear.h"

namespace fathom::kernels {

void linear_fwd_ref(const LinearFwd& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t o = 0; o < args.out; ++o) {
      double total = 0;
      for (int64_t i = 0; i < args.in; ++i) {
        const float x = args.x[r * args.x_stride + i];
        if (args.weight_type == DType::kF32) {
          total += double{x} * static_cast<const float*>(args.weight)[o * args.in + i];
        } else {
          total += double{round_to_bfloat16(x)} *
                   to_float(static_cast<const BFloat16*>(args.weight)[o * args.in + i]);
        }
      }
      if (args.out_scale != nullptr) total *= args.out_scale[o];
      if (args.bias != nullptr) total += args.bias[o];
      float& y = args.y[r * args.y_stride + o];
      y = static_cast<float>((args.accumulate ? double{y} : 0.0) + args.scale * total);
    }
  }
}

}  // namespace fathom::kernels
