#include <cmath>

#include "base/half.h"
#include "kernels/adapted_norms/adapted_norms.h"

namespace fathom::kernels {

void adapted_norms_fwd_ref(const AdaptedNorms& args) {
  const auto value = [&](const void* data, int64_t i) -> double {
    return args.type == DType::kF32 ? static_cast<const float*>(data)[i]
                                    : to_float(static_cast<const BFloat16*>(data)[i]);
  };
  for (int64_t o = 0; o < args.out; ++o) {
    double squares = 0;
    for (int64_t i = 0; i < args.in; ++i) {
      double change = 0;
      for (int64_t k = 0; k < args.rank; ++k)
        change += value(args.b, o * args.rank + k) * value(args.a, k * args.in + i);
      const int64_t at = o * args.in + i;
      const double weight = args.weight_scale != nullptr
                                ? double{args.weight_scale[o]} * static_cast<const int8_t*>(args.weight)[at]
                                : value(args.weight, at);
      squares += std::pow(weight + args.scaling * change, 2);
    }
    args.norms[o] = static_cast<float>(std::sqrt(squares));
  }
}

}  // namespace fathom::kernels
