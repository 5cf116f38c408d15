#include "kernels/round_bf16/round_bf16.h"

#include "base/half.h"
#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

TEST(RoundBf16, RefTakesTheNearestAndTheEvenOfTwo) {
  float values[] = {1.0F, 1.001F, 1.00390625F, 1.01171875F, -1.00390625F, 3.4e38F};
  round_bf16_ref({values, 6});
  EXPECT_EQ(values[0], 1.0F);
  EXPECT_EQ(values[1], 1.0F);
  EXPECT_EQ(values[2], 1.0F);       // half way between 1 and 1 + 2^-7
  EXPECT_EQ(values[3], 1.015625F);  // half way between 1 + 2^-7 and 1 + 2^-6
  EXPECT_EQ(values[4], -1.0F);
  EXPECT_TRUE(std::isinf(values[5]));
}

TEST(RoundBf16, CpuEqualsRefForAnyThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (int64_t n : {1, 7, 8, 33, 9001}) {
      Buffer ref = Buffer::normal(n, 1), cpu = ref, alone = ref;
      for (Buffer* b : {&ref, &cpu, &alone}) (*b)[n - 1] = std::numeric_limits<float>::quiet_NaN();
      round_bf16_ref({ref.data(), n});
      round_bf16_cpu({cpu.data(), n}, pool);
      round_bf16_cpu({alone.data(), n}, serial);
      EXPECT_TRUE(testing::same_bits(cpu, ref));
      EXPECT_TRUE(testing::same_bits(alone, ref));
      EXPECT_TRUE(cpu.intact());
    }
  });
}

}  // namespace
}  // namespace fathom::kernels
