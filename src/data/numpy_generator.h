// The random numbers of numpy.random.default_rng(seed), for orders that others drew with it: PCG64 (O'Neill
// 2014, XSL RR 128/64) seeded through numpy's SeedSequence. Everything of Fathom's own uses base/random.h.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace fathom {

class NumpyGenerator {
 public:
  explicit NumpyGenerator(uint64_t seed);

  // Generator.permutation(size): [0, size) by Fisher and Yates from the end.
  std::vector<int64_t> permutation(int64_t size);

 private:
  __extension__ using Wide = unsigned __int128;
  uint64_t next();
  uint32_t next_half();              // low half first, the high one kept for the next call
  uint32_t at_most(uint32_t bound);  // uniform over [0, bound], by masking and rejection

  Wide state_ = 0, increment_ = 0;
  std::optional<uint32_t> half_;
};

}  // namespace fathom
