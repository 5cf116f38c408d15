#include "data/numpy_generator.h"

#include <array>
#include <bit>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace fathom {

namespace {

// numpy's SeedSequence: entropy is hashed into a pool of four words, and the pool into as many as are wanted.
constexpr size_t kPool = 4;

class Hash {
 public:
  Hash(uint32_t start, uint32_t multiplier) : constant_(start), multiplier_(multiplier) {}
  uint32_t operator()(uint32_t value) {
    value ^= constant_;
    constant_ *= multiplier_;
    value *= constant_;
    return value ^ value >> 16;
  }

 private:
  uint32_t constant_, multiplier_;
};

uint32_t mixed(uint32_t x, uint32_t y) {
  const uint32_t value = 0xca01f9ddU * x - 0x4973f715U * y;
  return value ^ value >> 16;
}

// Four words of 64 bits.
std::array<uint64_t, 4> seed_words(uint64_t seed) {
  Hash enter(0x43b0d7e5U, 0x931e8875U);
  std::array<uint32_t, kPool> pool{};
  const std::array<uint32_t, kPool> entropy = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                                               0, 0};
  for (size_t i = 0; i < kPool; ++i) pool[i] = enter(entropy[i]);
  for (size_t from = 0; from < kPool; ++from) {
    for (size_t to = 0; to < kPool; ++to) {
      if (from != to) pool[to] = mixed(pool[to], enter(pool[from]));
    }
  }
  Hash leave(0x8b51f9ddU, 0x58f38dedU);
  std::array<uint64_t, 4> words{};
  for (size_t i = 0; i < 2 * words.size(); ++i)
    words[i / 2] |= uint64_t{leave(pool[i % kPool])} << (32 * (i % 2));
  return words;
}

}  // namespace

NumpyGenerator::NumpyGenerator(uint64_t seed) {
  const std::array<uint64_t, 4> words = seed_words(seed);
  increment_ = (Wide{words[2]} << 64 | words[3]) << 1 | 1;
  next();
  state_ += Wide{words[0]} << 64 | words[1];
  next();
}

uint64_t NumpyGenerator::next() {
  constexpr Wide kMultiplier = Wide{2549297995355413924ULL} << 64 | 4865540595714422341ULL;
  state_ = state_ * kMultiplier + increment_;
  const auto folded = static_cast<uint64_t>(state_ >> 64) ^ static_cast<uint64_t>(state_);
  return std::rotr(folded, static_cast<int>(state_ >> 122));
}

uint32_t NumpyGenerator::next_half() {
  if (half_) return *std::exchange(half_, std::nullopt);
  const uint64_t whole = next();
  half_ = static_cast<uint32_t>(whole >> 32);
  return static_cast<uint32_t>(whole);
}

uint32_t NumpyGenerator::at_most(uint32_t bound) {
  if (bound == 0) return 0;
  const uint32_t mask = UINT32_MAX >> std::countl_zero(bound);
  uint32_t value = next_half() & mask;
  while (value > bound) value = next_half() & mask;
  return value;
}

std::vector<int64_t> NumpyGenerator::permutation(int64_t size) {
  FATHOM_CHECK(size >= 0 && size < INT64_C(0xFFFFFFFF), std::to_string(size) + " entries");
  std::vector<int64_t> values(static_cast<size_t>(size));
  std::iota(values.begin(), values.end(), 0);
  for (size_t i = values.size(); i-- > 1;) std::swap(values[i], values[at_most(static_cast<uint32_t>(i))]);
  return values;
}

}  // namespace fathom
