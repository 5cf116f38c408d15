#include "kernels/sampling/sampling_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

// Vectors that are taken together: enough to hide the latency of exp. A group is a multiple of them.
constexpr int kTogether = 4;

// Lanes that are missing are minus infinity, which is a token that cannot come.
FATHOM_INLINE Vec load_logits(const float* p, int64_t n) {
  if (n >= kLanes) return load(p);
  if (n <= 0) return broadcast(-__builtin_inff());
  return select(first_lanes(n), load_n(p, n), broadcast(-__builtin_inff()));
}

// exp(x), x <= 0, in place, to about 1 ulp; below -87.7 it is 0, NaN stays NaN. The range reduction and the
// polynomial of exp() in vec.h; without large results one shift builds the power of two, and an exponent
// field of 0 is the zero.
FATHOM_INLINE void exp_nonpositive(Vec* x) {
  const Vec magic = broadcast(12582912.0F + 127.0F);  // 1.5 * 2^23 rounds; 127 biases the exponent
  Vec biased[kTogether], p[kTogether];
  for (int i = 0; i < kTogether; ++i) x[i] = max(broadcast(-88.0F), x[i]);
  for (int i = 0; i < kTogether; ++i) biased[i] = fma(x[i], broadcast(1.44269504088896341F), magic);
  for (int i = 0; i < kTogether; ++i) {
    const Vec n = biased[i] - magic;
    x[i] = fma(n, broadcast(-0.693359375F), x[i]);
    x[i] = fma(n, broadcast(2.12194440e-4F), x[i]);
  }
  constexpr float kTerms[] = {1.3981999507e-3F, 8.3334519073e-3F, 4.1665795894e-2F, 1.6666665459e-1F,
                              5.0000001201e-1F};
  for (int i = 0; i < kTogether; ++i) p[i] = broadcast(kTerms[0]);
  for (int k = 1; k < 5; ++k) {
    for (int i = 0; i < kTogether; ++i) p[i] = fma(p[i], x[i], broadcast(kTerms[k]));
  }
  for (int i = 0; i < kTogether; ++i) {
    x[i] = (fma(p[i] * x[i], x[i], x[i]) + 1.0F) * (Vec)((IVec)biased[i] << 23);
  }
}

// kTogether vectors as floats, then kLanes / 2 sums in double.
FATHOM_INLINE Wide added(Wide total, const Vec* v) {
  Wide low, high;
  widen((v[0] + v[1]) + (v[2] + v[3]), &low, &high);
  return total + (low + high);
}

FATHOM_INLINE double sum(Wide v) {
  double total = 0;
  for (int i = 0; i < kLanes / 2; ++i) total += v[i];
  return total;
}

SamplingSums sampling_block(const float* logits, int64_t count, float temperature, float* largest) {
  const float infinity = __builtin_inff();
  float m = -infinity;
  for (int64_t first = 0; first < count; first += kSamplingGroup) {
    Vec group = broadcast(-infinity);
    // This order drops NaN; the sums find it.
    for (int64_t v = first; v < first + kSamplingGroup; v += kLanes)
      group = max(load_logits(logits + v, count - v), group);
    const float here = max_lane(group);
    *largest++ = here;
    m = here > m ? here : m;
  }
  const Vec shift = broadcast(m == -infinity ? 0.0F : m), divisor = broadcast(temperature);
  Wide softmax = {}, weights = {};
  for (int64_t first = 0; first < count; first += kTogether * kLanes) {
    Vec x[kTogether], e[kTogether];
    for (int i = 0; i < kTogether; ++i) {
      const int64_t v = first + i * kLanes;
      e[i] = x[i] = load_logits(logits + v, count - v) - shift;
    }
    exp_nonpositive(e);
    softmax = added(softmax, e);
    if (temperature == 1) continue;
    for (int i = 0; i < kTogether; ++i) x[i] = x[i] / divisor;
    exp_nonpositive(x);
    weights = added(weights, x);
  }
  return {m, sum(softmax), sum(temperature == 1 ? softmax : weights)};
}

void sampling_weights(const float* logits, int64_t count, float largest, float temperature, float* weights) {
  const Vec shift = broadcast(largest), divisor = broadcast(temperature);
  for (int64_t first = 0; first < kSamplingGroup; first += kTogether * kLanes) {
    Vec x[kTogether];
    for (int i = 0; i < kTogether; ++i) {
      const int64_t v = first + i * kLanes;
      x[i] = (load_logits(logits + v, count - v) - shift) / divisor;
    }
    exp_nonpositive(x);
    for (int i = 0; i < kTogether; ++i) store(weights + first + i * kLanes, x[i]);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
