#include "kernels/sampling/sampling.h"

#include <vector>

#include "base/check.h"
#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Row {
  explicit Row(int64_t vocab, uint64_t stream = 1)
      : logits(Buffer::normal(vocab, stream, 2.0F)),
        workspace(static_cast<size_t>(sampling_workspace(vocab))) {}
  Sample args(SamplingParams params, uint64_t position = 0) {
    return {logits.data(), logits.size(), params, 0, position, workspace.data()};
  }
  Buffer logits;
  std::vector<uint8_t> workspace;
};

TEST(Sampling, GreedyTakesTheLowestIdAmongTheLargest) {
  Row row(20);
  row.logits[13] = row.logits[5] = 50.0F;
  EXPECT_EQ(sample_cpu(row.args({.temperature = 0})).token, 5);
  EXPECT_NEAR(sample_cpu(row.args({.temperature = 0})).log_probability, -std::log(2.0F), 1e-6);
}

TEST(Sampling, CpuEqualsRef) {
  for (int64_t vocab : {1, 2, 50, 1000}) {
    Row row(vocab, static_cast<uint64_t>(vocab));
    for (int64_t v = 0; v + 7 < vocab; v += 7) row.logits[v] = row.logits[v + 3];  // ties
    const SamplingParams settings[] = {
        {},
        {.temperature = 0.5F, .seed = 4},
        {.top_k = 5, .seed = 5},
        {.top_p = 0.7F, .seed = 6},
        {.min_p = 0.2F, .seed = 7},
        {.temperature = 1.5F, .top_k = 40, .top_p = 0.9F, .min_p = 0.05F, .seed = 8}};
    for (const SamplingParams& params : settings) {
      for (uint64_t position = 0; position < 200; ++position) {
        const Sampled ref = sample_ref(row.args(params, position)),
                      cpu = sample_cpu(row.args(params, position));
        ASSERT_EQ(cpu.token, ref.token);
        ASSERT_NEAR(cpu.log_probability, ref.log_probability, 1e-5);
      }
    }
  }
}

TEST(Sampling, DrawsFollowTheSoftmax) {
  Row row(5);
  for (int64_t v = 0; v < 5; ++v)
    row.logits[v] = std::log(static_cast<float>(v + 1));  // probabilities (v + 1) / 15
  std::vector<int> counts(5);
  constexpr int kDraws = 30000;
  for (uint64_t position = 0; position < kDraws; ++position) {
    ++counts[static_cast<size_t>(sample_cpu(row.args({.seed = 3}, position)).token)];
  }
  double chi2 = 0;
  for (int v = 0; v < 5; ++v) {
    const double expected = kDraws * (v + 1) / 15.0;
    chi2 +=
        (counts[static_cast<size_t>(v)] - expected) * (counts[static_cast<size_t>(v)] - expected) / expected;
  }
  EXPECT_LT(chi2, 18.5);  // the 0.1 % point of four degrees of freedom
}

TEST(Sampling, TopPKeepsTheSmallestSetAndAtLeastOne) {
  Row row(4);
  for (int64_t v = 0; v < 4; ++v) row.logits[v] = std::log(static_cast<float>(v == 0 ? 0.5 : 0.5 / 3));
  for (uint64_t position = 0; position < 100; ++position) {
    EXPECT_EQ(sample_cpu(row.args({.top_p = 0.4F}, position)).token, 0);
    EXPECT_LE(sample_cpu(row.args({.top_p = 0.6F}, position)).token, 1);
  }
}

TEST(Sampling, WithoutAFiniteLogitThereIsNothingToDraw) {
  Row row(3);
  for (int64_t v = 0; v < 3; ++v) row.logits[v] = -std::numeric_limits<float>::infinity();
  EXPECT_THROW(sample_cpu(row.args({})), CheckFailure);
  for (int64_t v = 0; v < 3; ++v) row.logits[v] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(sample_cpu(row.args({})), CheckFailure);
}

}  // namespace
}  // namespace fathom::kernels
