#include "kernels/adapted_norms/adapted_norms_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

struct Floats {
  FATHOM_INLINE Vec at(const void* data, int64_t i, int64_t n) { return load_n((const float*)data + i, n); }
};
struct Halves {
  FATHOM_INLINE Vec at(const void* data, int64_t i, int64_t n) {
    return load_bf16_n((const uint16_t*)data + i, n);
  }
};

struct Wholes {
  FATHOM_INLINE Vec at(const void* data, int64_t i, int64_t n) {
    Vec v = {};
    for (int64_t k = 0; k < n; ++k) v[k] = (float)((const int8_t*)data)[i + k];
    return v;
  }
};

// A row of W passes once; the change of kLanes of its elements at a time stays in a register. W is read as
// a Matrix, A and B as F.
template <class Matrix, class F>
FATHOM_INLINE float norm_of_row(const AdaptedNorms& args, int64_t row) {
  Vec squares = {};
  for (int64_t i = 0; i < args.in; i += kLanes) {
    const int64_t n = lanes_left(args.in - i);
    Vec change = {};
    for (int64_t k = 0; k < args.rank; ++k) {
      const Vec b = broadcast(F::at(args.b, row * args.rank + k, 1)[0]);
      change = fma(b, F::at(args.a, k * args.in + i, n), change);
    }
    Vec weight = Matrix::at(args.weight, row * args.in + i, n);
    if (args.weight_scale != nullptr) weight = weight * args.weight_scale[row];
    const Vec value = fma(change, broadcast(args.scaling), weight);
    squares = fma(value, value, squares);
  }
  return __builtin_sqrtf(sum(squares));
}

}  // namespace

void adapted_norms_rows(const AdaptedNorms& args, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    if (args.weight_scale != nullptr) {
      args.norms[row] = args.type == DType::kF32 ? norm_of_row<Wholes, Floats>(args, row)
                                                 : norm_of_row<Wholes, Halves>(args, row);
    } else {
      args.norms[row] = args.type == DType::kF32 ? norm_of_row<Floats, Floats>(args, row)
                                                 : norm_of_row<Halves, Halves>(args, row);
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
