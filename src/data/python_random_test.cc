// Draws are those of CPython: the numbers below are what python3 prints for the same calls.
#include "data/python_random.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

using Numbers = std::vector<int64_t>;

struct Recorded {
  uint64_t seed;
  double first, second;         // random.random() twice
  int64_t digit, wide, choice;  // then randint(0, 9), randint(-3, 1000000), choice of two
};
const Recorded kRecorded[] = {{0, 0x1.b0580f98a7dbep-1, 0x1.84129978f9c1ap-1, 6, 42447, 1},
                              {1, 0x1.132d8f91b7584p-3, 0x1.b1e2d5b3584f8p-1, 1, 267456, 0},
                              {4204800, 0x1.ab13b987e0b50p-2, 0x1.fc9168008e80cp-3, 2, 632617, 0},
                              {UINT64_C(1) << 32, 0x1.ced31cb3df170p-4, 0x1.abdb5477a4f26p-2, 0, 23927, 1},
                              {UINT64_MAX, 0x1.659799fd7f980p-6, 0x1.5a35a94f333d8p-2, 3, 478214, 0},
                              {12345678901234567, 0x1.8d6c3531538e0p-4, 0x1.f9bf236aaf465p-1, 9, 900630, 1}};

TEST(PythonRandom, DrawsAsPythonDoes) {
  for (const Recorded& recorded : kRecorded) {
    PythonRandom random(recorded.seed);
    EXPECT_EQ(random.uniform(), recorded.first) << recorded.seed;
    EXPECT_EQ(random.uniform(), recorded.second) << recorded.seed;
    EXPECT_EQ(random.between(0, 9), recorded.digit) << recorded.seed;
    EXPECT_EQ(random.between(-3, 1'000'000), recorded.wide) << recorded.seed;
    EXPECT_EQ(random.between(0, 1), recorded.choice) << recorded.seed;
  }
}

// Both ways to sample, on either side of where Python changes from one to the other (21 numbers; 85 for 20).
TEST(PythonRandom, SamplesAsPythonDoes) {
  PythonRandom random(42);
  EXPECT_EQ(random.sample(8, 3), (Numbers{1, 0, 5}));
  EXPECT_EQ(random.sample(21, 3), (Numbers{8, 7, 19}));
  EXPECT_EQ(random.sample(22, 3), (Numbers{4, 3, 21}));
  EXPECT_EQ(random.sample(100, 10), (Numbers{94, 69, 11, 75, 54, 4, 3, 27, 29, 64}));
  EXPECT_EQ(random.sample(86, 20),
            (Numbers{77, 3, 71, 25, 83, 69, 53, 28, 57, 75, 35, 0, 20, 54, 43, 19, 27, 13, 11, 48}));
  EXPECT_EQ(random.sample(1850, 3), (Numbers{198, 735, 1735}));
  EXPECT_EQ(random.between(0, UINT32_MAX - 1), 1477278577);
  // Beyond the first 624 words, which are mixed anew.
  for (int i = 0; i < 2000; ++i) random.between(0, UINT32_MAX - 1);
  EXPECT_EQ(random.between(0, UINT32_MAX - 1), 558311957);
}

}  // namespace
}  // namespace fathom
