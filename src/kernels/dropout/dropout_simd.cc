#include "kernels/dropout/dropout_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// Philox4x32-10 as base/random.h has it, of kLanes positions side by side.
struct Words {
  uint32_t word[4][kLanes];
};
FATHOM_INLINE Words philox_from(uint64_t seed, uint64_t stream, uint64_t position) {
  Words c;
  for (int lane = 0; lane < kLanes; ++lane) {
    c.word[0][lane] = (uint32_t)(position + (uint64_t)lane);
    c.word[1][lane] = (uint32_t)((position + (uint64_t)lane) >> 32);
    c.word[2][lane] = (uint32_t)stream;
    c.word[3][lane] = (uint32_t)(stream >> 32);
  }
  uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const uint64_t p0 = (uint64_t)0xD2511F53U * c.word[0][lane];
      const uint64_t p1 = (uint64_t)0xCD9E8D57U * c.word[2][lane];
      c.word[0][lane] = (uint32_t)(p1 >> 32) ^ c.word[1][lane] ^ key0;
      c.word[2][lane] = (uint32_t)(p0 >> 32) ^ c.word[3][lane] ^ key1;
      c.word[1][lane] = (uint32_t)p1;
      c.word[3][lane] = (uint32_t)p0;
    }
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return c;
}

}  // namespace

void dropout_range(const Dropout& args, int64_t begin, int64_t end) {
  // The smallest word that is kept.
  const uint64_t limit = (uint64_t)__builtin_ceil((double)args.share * 0x1p32);
  const float scale = 1.0F / (1.0F - args.share);
  for (int64_t i = begin; i < end; i += 4 * kLanes) {
    const Words words = philox_from(args.seed, args.stream, (uint64_t)i / 4);
    float factor[4 * kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int w = 0; w < 4; ++w) factor[4 * lane + w] = words.word[w][lane] >= limit ? scale : 0.0F;
    }
    for (int64_t at = i; at < end && at < i + 4 * kLanes; at += kLanes) {
      const int64_t n = lanes_left(end - at);
      const Vec by = load(factor + (at - i));
      // Not a product: nothing comes of what is dropped, whatever it is.
      store_n(args.y + at, select(by == 0.0F, Vec{}, load_n(args.x + at, n) * by), n);
    }
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
