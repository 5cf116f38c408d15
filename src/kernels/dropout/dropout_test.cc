#include "kernels/dropout/dropout.h"

#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Case {
  Case(int64_t n, float dropped, uint64_t s) : x(Buffer::normal(n, 1)), y(n), share(dropped), stream(s) {}
  Dropout args() { return {x.data(), y.data(), x.size(), share, 77, stream}; }
  Buffer x, y;
  float share;
  uint64_t stream;
};

TEST(Dropout, RefOfNothingIsTheIdentity) {
  Case c(13, 0, 5);
  dropout_fwd_ref(c.args());
  EXPECT_TRUE(testing::same_bits(c.y, c.x));
}

// What is kept is scaled so that the mean stays; the share that goes is the one asked for within five
// standard deviations.
TEST(Dropout, RefDropsItsShareAndScalesTheRest) {
  Case c(20000, 0.3F, 5);
  dropout_fwd_ref(c.args());
  int64_t dropped = 0;
  for (int64_t i = 0; i < c.x.size(); ++i) {
    dropped += c.y[i] == 0 ? 1 : 0;
    if (c.y[i] != 0) {
      EXPECT_FLOAT_EQ(c.y[i], c.x[i] / 0.7F);
    }
  }
  EXPECT_NEAR(static_cast<double>(dropped) / 20000, 0.3, 5 * std::sqrt(0.3 * 0.7 / 20000));
}

TEST(Dropout, StreamsDropDifferentElements) {
  Case first(400, 0.5F, 5), second(400, 0.5F, 6);
  dropout_fwd_ref(first.args());
  dropout_fwd_ref(second.args());
  int64_t different = 0;
  for (int64_t i = 0; i < 400; ++i) different += (first.y[i] == 0) != (second.y[i] == 0) ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(different), 200, 5 * 10);
}

TEST(Dropout, CpuHasTheBitsOfRefForAnyThreads) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (int64_t n : {1, 3, 64, 65, 4096, 9999}) {
      for (float share : {0.0F, 0.1F, 0.999F}) {
        Case ref(n, share, uint64_t{1} << 40), cpu(n, share, uint64_t{1} << 40);
        dropout_fwd_ref(ref.args());
        dropout_fwd_cpu(cpu.args(), pool);
        EXPECT_TRUE(testing::same_bits(cpu.y, ref.y)) << n << ", " << share;
        EXPECT_TRUE(cpu.y.intact());
        Dropout onto = cpu.args();
        onto.y = cpu.x.data();
        dropout_fwd_cpu(onto, pool);
        EXPECT_TRUE(testing::same_bits(cpu.x, ref.y));
      }
    }
  });
}

TEST(Dropout, WhatIsDroppedLeavesNothing) {
  Case c(4096, 0.5F, 5);
  SerialParallel serial;
  for (int64_t i = 0; i < c.x.size(); ++i) c.x[i] = std::numeric_limits<float>::infinity();
  dropout_fwd_cpu(c.args(), serial);
  for (int64_t i = 0; i < c.x.size(); ++i) EXPECT_FALSE(std::isnan(c.y[i]));
}

}  // namespace
}  // namespace fathom::kernels
