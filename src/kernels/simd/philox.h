// Philox4x32-10 as base/random.h has it, of kLanes positions side by side. Included by the levels' sources
// only.
#pragma once

#include "kernels/simd/vec.h"

namespace fathom::simd::FATHOM_SIMD_LEVEL {

namespace {

// Lane l holds the four words of one position.
struct PhiloxWords {
  uint32_t word[4][kLanes];
};

// Of positions position, position + 1, ...
FATHOM_INLINE PhiloxWords philox_from(uint64_t seed, uint64_t stream, uint64_t position) {
  PhiloxWords c;
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

// What dropout of `share` multiplies the 4 * kLanes elements of these positions with: 1 / (1 - share) or 0.
FATHOM_INLINE void keep_factors(const PhiloxWords& words, float share, float* factors) {
  const uint64_t limit = (uint64_t)__builtin_ceil((double)share * 0x1p32);  // the smallest word that is kept
  const float scale = 1.0F / (1.0F - share);
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int w = 0; w < 4; ++w) factors[4 * lane + w] = words.word[w][lane] >= limit ? scale : 0.0F;
  }
}

}  // namespace

}  // namespace fathom::simd::FATHOM_SIMD_LEVEL
