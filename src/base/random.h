// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// 2011). A value is a pure function of (seed, stream, position), so results do not depend on batching,
// threads or order.
#pragma once

#include <array>
#include <cstdint>

namespace fathom {

// Four independent 32-bit words for one counter value.
std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t position);

// Uniform in [0, 1) with 24 random bits.
float uniform(uint64_t seed, uint64_t stream, uint64_t position);

// Standard normal (Box-Muller, computed in double).
float normal(uint64_t seed, uint64_t stream, uint64_t position);

// A sequence of draws from one stream, for code that wants "the next number". Its whole state is `position`.
class RandomStream {
 public:
  RandomStream(uint64_t seed, uint64_t stream, uint64_t position = 0)
      : seed_(seed), stream_(stream), position_(position) {}
  float next_uniform() { return uniform(seed_, stream_, position_++); }
  float next_normal() { return normal(seed_, stream_, position_++); }
  // Uniform integer in [0, bound), bound > 0, without modulo bias.
  uint64_t next_below(uint64_t bound);
  uint64_t position() const { return position_; }

 private:
  uint64_t seed_, stream_, position_;
};

}  // namespace fathom
