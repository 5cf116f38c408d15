// The random numbers of Python's module `random`, for what others drew with it: the Mersenne Twister MT19937
// (Matsumoto and Nishimura 1998) as CPython 3.2 and later seed and use it. Everything of Fathom's own uses
// base/random.h.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace fathom {

class PythonRandom {
 public:
  // random.seed(seed); Python takes the absolute value of a negative one.
  explicit PythonRandom(uint64_t seed);

  // random.random(): uniform over [0, 1), 53 bits.
  double uniform();
  // random.randint(low, high), both ends included; high - low < 2^32 - 1. random.choice(list) is the entry at
  // between(0, size - 1).
  int64_t between(int64_t low, int64_t high);
  // random.sample(range(population), count): distinct numbers in the order they were drawn;
  // count <= population < 2^32.
  std::vector<int64_t> sample(int64_t population, int64_t count);

 private:
  uint32_t below(uint32_t bound);  // uniform over [0, bound), by rejection

  std::mt19937 twister_;
};

}  // namespace fathom
