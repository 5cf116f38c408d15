#include "base/check.h"
#include "kernels/causal_conv1d/causal_conv1d_levels.h"

namespace fathom::kernels {

namespace {
constexpr int64_t kChannelGrain = 16;  // a multiple of every vector width
}

void causal_conv1d_fwd_cpu(const CausalConv1dFwd& args, Parallel& parallel) {
  FATHOM_CHECK(args.width >= 1, "a convolution has at least one tap");
  const auto channels_fn = FATHOM_SIMD_SELECT(causal_conv1d_fwd_channels);
  parallel.run(args.channels, kChannelGrain,
               [&](int64_t begin, int64_t end, int) { channels_fn(args, begin, end); });
}

void causal_conv1d_bwd_cpu(const CausalConv1dBwd& args, Parallel& parallel) {
  FATHOM_CHECK(args.width >= 1, "a convolution has at least one tap");
  FATHOM_CHECK((args.bias != nullptr) == (args.grad_bias != nullptr),
               "a bias has a gradient, no bias has none");
  const auto channels_fn = FATHOM_SIMD_SELECT(causal_conv1d_bwd_channels);
  parallel.run(args.channels, kChannelGrain,
               [&](int64_t begin, int64_t end, int) { channels_fn(args, begin, end); });
}

}  // namespace fathom::kernels
