#include "base/random.h"

#include <cmath>
#include <numbers>

namespace fathom {

std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t position) {
  constexpr uint64_t kMultiply0 = 0xD2511F53U, kMultiply1 = 0xCD9E8D57U;
  constexpr uint32_t kWeyl0 = 0x9E3779B9U, kWeyl1 = 0xBB67AE85U;
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32),
                               static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  auto key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = kMultiply0 * c[0], p1 = kMultiply1 * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(p0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return c;
}

float uniform(uint64_t seed, uint64_t stream, uint64_t position) {
  return static_cast<float>(philox(seed, stream, position)[0] >> 8) * 0x1p-24F;
}

float normal(uint64_t seed, uint64_t stream, uint64_t position) {
  const auto words = philox(seed, stream, position);
  const double u1 = (static_cast<double>(words[0]) + 0.5) * 0x1p-32;
  const double u2 = static_cast<double>(words[1]) * 0x1p-32;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u1)) * std::cos(2.0 * std::numbers::pi * u2));
}

uint64_t RandomStream::next_below(uint64_t bound) {
  const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  for (;;) {
    const auto words = philox(seed_, stream_, position_++);
    const uint64_t draw = (static_cast<uint64_t>(words[0]) << 32) | words[1];
    if (draw < limit) return draw % bound;
  }
}

}  // namespace fathom
