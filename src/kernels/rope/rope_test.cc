#include "kernels/rope/rope.h"

#include <vector>

#include "base/check.h"
#include "base/half.h"
#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Case {
  Case(int64_t head_dim_, int64_t heads_)
      : head_dim(head_dim_),
        heads(heads_),
        positions({5, 0, 31, 5, 7}),
        x(Buffer::normal(5 * stride(), 1)),
        cos(32 * head_dim / 2),
        sin(32 * head_dim / 2) {
    rope_table(cos.data(), sin.data(), 32, head_dim, 10000.0, false);
  }
  int64_t stride() const { return heads * head_dim + 3; }
  RopeFwd args() {
    return {x.data(), positions.data(), cos.data(), sin.data(), 32, 5, heads, head_dim, stride(), false};
  }
  int64_t head_dim, heads;
  std::vector<int32_t> positions;
  Buffer x, cos, sin;
};

TEST(Rope, TheAngleOfTheFirstPairIsThePosition) {
  Case c(8, 1);
  EXPECT_FLOAT_EQ(c.cos[3 * 4], std::cos(3.0F));
  EXPECT_FLOAT_EQ(c.sin[3 * 4], std::sin(3.0F));
  EXPECT_FLOAT_EQ(c.cos[7 * 4 + 2], std::cos(7.0F * 0.01F));
}

TEST(Rope, TablesCanBeRounded) {
  Case c(8, 1);
  Buffer cos(c.cos.size()), sin(c.sin.size());
  rope_table(cos.data(), sin.data(), 32, 8, 10000.0, true);
  for (int64_t i = 0; i < cos.size(); ++i) EXPECT_EQ(cos[i], round_to_bfloat16(c.cos[i]));
}

TEST(Rope, FrequenciesCanBeRounded) {
  Buffer cos(32 * 4), sin(32 * 4);
  rope_table(cos.data(), sin.data(), 32, 8, 10000.0, false, true);
  const float frequency = round_to_bfloat16(0.1F);  // of the second pair: 10000^(-2/8)
  EXPECT_NE(frequency, 0.1F);
  for (int64_t p = 0; p < 32; ++p) {
    EXPECT_FLOAT_EQ(sin[p * 4 + 1], std::sin(static_cast<float>(p) * frequency));
  }
}

TEST(Rope, ScoresDependOnTheDifferenceOfPositionsOnly) {
  const Buffer q = Buffer::normal(8, 3), k = Buffer::normal(8, 4);
  const auto score = [&](int32_t at_q, int32_t at_k) {
    Case c(8, 1);
    Buffer a = q, b = k;
    const int32_t pq[] = {at_q}, pk[] = {at_k};
    rope_fwd_ref({a.data(), pq, c.cos.data(), c.sin.data(), 32, 1, 1, 8, 8, false});
    rope_fwd_ref({b.data(), pk, c.cos.data(), c.sin.data(), 32, 1, 1, 8, 8, false});
    return testing::dot(a, b);
  };
  EXPECT_NEAR(score(9, 4), score(25, 20), 1e-5);
}

TEST(Rope, CpuEqualsRefAndTheInverseUndoesIt) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (int64_t head_dim : {2, 6, 8, 24, 64, 128}) {
      Case ref(head_dim, 3), cpu(head_dim, 3);
      const Buffer before = cpu.x;
      rope_fwd_ref(ref.args());
      rope_fwd_cpu(cpu.args(), pool);
      EXPECT_LE(testing::relative_error(cpu.x, ref.x), 1e-6) << head_dim;
      EXPECT_TRUE(cpu.x.intact());
      RopeFwd back = cpu.args();
      back.inverse = true;
      rope_fwd_cpu(back, pool);
      EXPECT_LE(testing::relative_error(cpu.x, before), 1e-6) << head_dim;
    }
  });
}

TEST(Rope, APositionOutsideTheTableIsRefused) {
  Case c(8, 1);
  SerialParallel serial;
  c.positions[2] = 32;
  EXPECT_THROW(rope_fwd_cpu(c.args(), serial), CheckFailure);
}

}  // namespace
}  // namespace fathom::kernels
