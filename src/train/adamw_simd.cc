#include "kernels/simd/vec.h"
#include "train/adamw_levels.h"

namespace fathom::train::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

FATHOM_INLINE Vec square_root(Vec x) {
#if defined(FATHOM_HAS_AVX512)
  return (Vec)_mm512_maskz_sqrt_ps((__mmask16)0xffff, (__m512)x);
#elif defined(FATHOM_SIMD_avx2)
  return (Vec)_mm256_sqrt_ps((__m256)x);
#else
  for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

}  // namespace

void adamw_range(const AdamWTensor& tensor, const AdamWFactors& f, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t n = lanes_left(end - i);
    const Vec g = load_n(tensor.grad + i, n) * tensor.grad_scale;
    const Vec m_before = load_n(tensor.first_moment + i, n);
    const Vec m = m_before + (g - m_before) * f.one_minus_beta1;
    const Vec v = load_n(tensor.second_moment + i, n) * f.beta2 + f.one_minus_beta2 * g * g;
    store_n(tensor.first_moment + i, m, n);
    store_n(tensor.second_moment + i, v, n);
    const Vec p = load_n(tensor.param + i, n);
    store_n(tensor.param + i, p * f.keep - f.step_size * (m / (square_root(v) / f.root2 + f.eps)), n);
  }
}

double sum_of_squares(const float* values, int64_t count) {
  typedef double DVec __attribute__((vector_size(kLanes * 8)));
  DVec total = {};
  for (int64_t i = 0; i < count; i += kLanes) {
    const DVec value = __builtin_convertvector(load_n(values + i, lanes_left(count - i)), DVec);
    total = total + value * value;
  }
  double sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += total[i];
  return sum;
}

}  // namespace fathom::train::FATHOM_SIMD_LEVEL
