#include "kernels/peaks/peaks_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kAhead = 24 * kLine;  // of each stream; the processor's own prefetchers stop at pages
constexpr int kVecsPerLine = kLine / (kLanes * 4);

FATHOM_INLINE IVec load_words(const char* p) {
  IVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <int kStreams, bool kPrefetch>
FATHOM_INLINE uint32_t read_streams(const char* data, int64_t bytes) {
  const int64_t part = bytes / kStreams / kLine * kLine;
  IVec total[kStreams] = {};
  for (int64_t at = 0; at < part; at += kLine) {
    for (int s = 0; s < kStreams; ++s) {
      const char* line = data + s * part + at;
      if (kPrefetch) __builtin_prefetch((const char*)((uintptr_t)line + kAhead));
      for (int v = 0; v < kVecsPerLine; ++v) total[s] ^= load_words(line + v * (int64_t)sizeof(IVec));
    }
  }
  uint32_t word = 0;
  for (int s = 0; s < kStreams; ++s) {
    for (int i = 0; i < kLanes; ++i) word ^= (uint32_t)total[s][i];
  }
  for (int64_t at = kStreams * part; at < bytes; at += 4) {
    uint32_t last;
    __builtin_memcpy(&last, data + at, 4);
    word ^= last;
  }
  return word;
}

// More chains than latency times throughput of any known unit, and few enough that the compiler unrolls a
// round and keeps every chain in a register of the smallest file of 16.
constexpr int kChains = 12;

#if defined(FATHOM_HAS_AVX512)
constexpr const char* kFloatLoop = "vfmadd, 512 bits";
#elif defined(FATHOM_SIMD_avx2)
constexpr const char* kFloatLoop = "vfmadd, 256 bits";
#else
constexpr const char* kFloatLoop = "multiply and add, 128 bits";
#endif

#if defined(FATHOM_SIMD_avx512_bf16)
constexpr const char* kWholeLoop = "vpdpwssd, 512 bits";
#elif defined(FATHOM_HAS_AVX512)
constexpr const char* kWholeLoop = "vpmaddwd and vpaddd, 512 bits";
#elif defined(FATHOM_SIMD_avx2)
constexpr const char* kWholeLoop = "vpmaddwd and vpaddd, 256 bits";
#else
constexpr const char* kWholeLoop = "multiply and add of whole numbers, 128 bits";
#endif

// A number that the compiler does not know.
template <class Number>
FATHOM_INLINE Number opaque(Number value) {
  volatile Number hidden = value;
  return hidden;
}

// Both products of a pair of 16 bits in a lane, added. One factor is the round before, so that no product
// can be taken out of the loop; the instruction that adds to it needs no such care.
FATHOM_INLINE IVec add_products(IVec one, IVec a, IVec b) {
#if defined(FATHOM_SIMD_avx512_bf16)
  return (IVec)_mm512_dpwssd_epi32((__m512i)one, (__m512i)a, (__m512i)b);
#elif defined(FATHOM_HAS_AVX512)
  return (IVec)_mm512_madd_epi16((__m512i)one, (__m512i)b) + a;
#elif defined(FATHOM_SIMD_avx2)
  return (IVec)_mm256_madd_epi16((__m256i)one, (__m256i)b) + a;
#else
  return (one >> 16) * (b >> 16) + (one << 16 >> 16) * (b << 16 >> 16) + a;
#endif
}

FATHOM_INLINE float sum_of(const Vec chain[kChains]) {
  Vec total = {};
  for (int c = 0; c < kChains; ++c) total += chain[c];
  return sum(total);
}

}  // namespace

uint32_t peaks_read(const void* data, int64_t bytes, int streams, bool prefetch) {
  const char* bytes_of = (const char*)data;
  if (streams == 1)
    return prefetch ? read_streams<1, true>(bytes_of, bytes) : read_streams<1, false>(bytes_of, bytes);
  if (streams == 4)
    return prefetch ? read_streams<4, true>(bytes_of, bytes) : read_streams<4, false>(bytes_of, bytes);
  return prefetch ? read_streams<8, true>(bytes_of, bytes) : read_streams<8, false>(bytes_of, bytes);
}

MultiplyResult peaks_multiply_f32(int64_t rounds) {
  // x a + b: the product depends on the round before, so none can be taken out of the loop.
  const Vec a = broadcast(opaque(0.5F)), b = broadcast(opaque(1.0F));
  Vec chain[kChains];
  for (int c = 0; c < kChains; ++c) chain[c] = broadcast((float)c);
  for (int64_t r = 0; r < rounds; ++r) {
    for (Vec& one : chain) one = fma(one, a, b);
  }
  return {2.0 * kLanes * kChains * (double)rounds, sum_of(chain), kFloatLoop};
}

MultiplyResult peaks_multiply_int16(int64_t rounds) {
  // The pair (1, 0): a chain counts its rounds.
  const IVec a = opaque(1) - IVec{}, b = opaque(1) - IVec{};
  IVec chain[kChains];
  for (int c = 0; c < kChains; ++c) chain[c] = c - IVec{};
  for (int64_t r = 0; r < rounds; ++r) {
    for (IVec& one : chain) one = add_products(one, a, b);
  }
  Vec counted[kChains];
  for (int c = 0; c < kChains; ++c) counted[c] = __builtin_convertvector(chain[c], Vec);
  return {4.0 * kLanes * kChains * (double)rounds, sum_of(counted), kWholeLoop};
}

#if defined(FATHOM_SIMD_avx512_bf16)
MultiplyResult peaks_multiply_bf16(int64_t rounds) {
  const __m512bh a = _mm512_cvtne2ps_pbh((__m512)broadcast(opaque(0.5F)), (__m512)broadcast(opaque(0.25F)));
  const __m512bh b = _mm512_cvtne2ps_pbh((__m512)broadcast(opaque(1.0F)), (__m512)broadcast(opaque(2.0F)));
  Vec chain[kChains];
  for (int c = 0; c < kChains; ++c) chain[c] = broadcast((float)c);
  for (int64_t r = 0; r < rounds; ++r) {
    for (Vec& one : chain) one = (Vec)_mm512_dpbf16_ps((__m512)one, a, b);
  }
  return {4.0 * kLanes * kChains * (double)rounds, sum_of(chain), "vdpbf16ps, 512 bits"};
}
#else
MultiplyResult peaks_multiply_bf16(int64_t rounds) { return peaks_multiply_f32(rounds); }
#endif

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
