#include "base/half.h"
#include "kernels/matmul/matmul.h"

namespace fathom::kernels {

namespace {

double element(const MatmulOperand& operand, int64_t i, int64_t k, MatmulPrecision precision) {
  const float value =
      operand.transposed ? operand.data[k * operand.stride + i] : operand.data[i * operand.stride + k];
  return precision == MatmulPrecision::kBF16 ? round_to_bfloat16(value) : value;
}

}  // namespace

void matmul_ref(const MatmulRef& args) {
  for (int64_t i = 0; i < args.a.count; ++i) {
    for (int64_t j = 0; j < args.b.count; ++j) {
      double total = 0;
      for (int64_t k = 0; k < args.a.k; ++k) {
        total += element(args.a, i, k, args.precision) * element(args.b, j, k, args.precision);
      }
      float& c = args.c[i * args.c_stride + j];
      c = static_cast<float>((args.accumulate ? double{c} : 0.0) + args.scale * total);
    }
  }
}

}  // namespace fathom::kernels
