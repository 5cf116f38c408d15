#include "base/half.h"
#include "kernels/round_bf16/round_bf16.h"

namespace fathom::kernels {

void round_bf16_ref(const RoundBf16& args) {
  for (int64_t i = 0; i < args.count; ++i) args.x[i] = round_to_bfloat16(args.x[i]);
}

}  // namespace fathom::kernels
