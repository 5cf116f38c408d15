#include "data/python_random.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <unordered_set>

#include "base/check.h"

namespace fathom {

namespace {

// Fills the twister's state from a key of 32-bit words: init_by_array of the authors' mt19937ar.c.
class KeyedState {
 public:
  using result_type = uint_least32_t;
  explicit KeyedState(uint64_t key) : key_{static_cast<uint32_t>(key)} {
    if (key >> 32 != 0) key_.push_back(static_cast<uint32_t>(key >> 32));
  }

  template <class Iterator>
  void generate(Iterator begin, Iterator end) const {
    const auto size = static_cast<size_t>(end - begin);
    std::vector<uint32_t> state(size);
    state[0] = 19650218U;
    for (size_t i = 1; i < size; ++i)
      state[i] = 1812433253U * folded(state[i - 1]) + static_cast<uint32_t>(i);
    size_t at = 1;
    const auto step = [&] {
      if (++at < size) return;
      state[0] = state[size - 1];
      at = 1;
    };
    for (size_t k = 0; k < std::max(size, key_.size()); ++k) {
      const size_t j = k % key_.size();
      state[at] = (state[at] ^ folded(state[at - 1]) * 1664525U) + key_[j] + static_cast<uint32_t>(j);
      step();
    }
    for (size_t k = 1; k < size; ++k) {
      state[at] = (state[at] ^ folded(state[at - 1]) * 1566083941U) - static_cast<uint32_t>(at);
      step();
    }
    state[0] = 0x80000000U;
    std::copy(state.begin(), state.end(), begin);
  }

 private:
  static uint32_t folded(uint32_t word) { return word ^ word >> 30; }
  std::vector<uint32_t> key_;
};

// Up to this many numbers random.sample() takes them out of a list; of more it keeps what it has drawn.
int64_t longest_list(int64_t count) {
  int64_t longest = 21;
  if (count <= 5) return longest;
  int64_t power = 1;
  while (power < 3 * count) power *= 4;
  return longest + power;
}

}  // namespace

PythonRandom::PythonRandom(uint64_t seed) {
  KeyedState state(seed);
  twister_.seed(state);
}

double PythonRandom::uniform() {
  const auto high = static_cast<double>(twister_() >> 5);
  const auto low = static_cast<double>(twister_() >> 6);
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

uint32_t PythonRandom::below(uint32_t bound) {
  const int unused = std::countl_zero(bound);
  uint32_t value = static_cast<uint32_t>(twister_()) >> unused;
  while (value >= bound) value = static_cast<uint32_t>(twister_()) >> unused;
  return value;
}

int64_t PythonRandom::between(int64_t low, int64_t high) {
  FATHOM_CHECK(low <= high && high - low < int64_t{UINT32_MAX},
               std::to_string(low) + " to " + std::to_string(high));
  return low + below(static_cast<uint32_t>(high - low + 1));
}

std::vector<int64_t> PythonRandom::sample(int64_t population, int64_t count) {
  FATHOM_CHECK(0 <= count && count <= population && population <= int64_t{UINT32_MAX},
               std::to_string(count) + " of " + std::to_string(population));
  std::vector<int64_t> drawn;
  if (population <= longest_list(count)) {
    std::vector<int64_t> list(static_cast<size_t>(population));
    std::iota(list.begin(), list.end(), 0);
    for (int64_t left = population; left > population - count; --left) {
      const uint32_t at = below(static_cast<uint32_t>(left));
      drawn.push_back(list[at]);
      list[at] = list[static_cast<size_t>(left - 1)];
    }
    return drawn;
  }
  std::unordered_set<int64_t> seen;
  while (static_cast<int64_t>(drawn.size()) < count) {
    const auto number = int64_t{below(static_cast<uint32_t>(population))};
    if (seen.insert(number).second) drawn.push_back(number);
  }
  return drawn;
}

}  // namespace fathom
