#include "kernels/sampling/sampling.h"

#include <algorithm>
#include <utility>
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

// The distribution behind all the cuts: renormalised over what survives, and nothing else comes.
TEST(Sampling, DrawsFollowTheCutSoftmax) {
  constexpr int64_t kVocab = 300;
  Row row(kVocab, 12);
  const SamplingParams params = {.temperature = 0.7F, .top_k = 8, .top_p = 0.9F, .min_p = 0.05F, .seed = 21};
  std::vector<std::pair<double, int64_t>> order;
  for (int64_t v = 0; v < kVocab; ++v) order.emplace_back(-row.logits[v], v);
  std::sort(order.begin(), order.end());
  std::vector<double> probability;  // of the top k
  double total = 0;
  for (size_t i = 0; i < 8; ++i) {
    probability.push_back(std::exp((order[0].first - order[i].first) / 0.7F));
    total += probability.back();
  }
  size_t kept = 0;
  double reached = 0;
  while (kept < 8 && reached < 0.9F * total && probability[kept] >= 0.05F) reached += probability[kept++];
  ASSERT_GT(kept, 2U);
  ASSERT_LT(kept, 8U);
  std::vector<int> counts(static_cast<size_t>(kVocab));
  constexpr int kDraws = 20000;
  for (uint64_t position = 0; position < kDraws; ++position) {
    ++counts[static_cast<size_t>(sample_cpu(row.args(params, position)).token)];
  }
  double chi2 = 0;
  int inside = 0;
  for (size_t i = 0; i < kept; ++i) {
    const int count = counts[static_cast<size_t>(order[i].second)];
    const double expected = kDraws * probability[i] / reached;
    inside += count;
    chi2 += (count - expected) * (count - expected) / expected;
  }
  EXPECT_EQ(inside, kDraws);
  EXPECT_LT(chi2, 24.3);  // the 0.1 % point of seven degrees of freedom, more than there are
}

TEST(Sampling, ADrawIsAFunctionOfSeedStreamAndPosition) {
  Row row(1000), other(1000, 2);
  const SamplingParams params = {.seed = 5};
  int different_seed = 0, different_stream = 0, different_position = 0;
  for (uint64_t position = 0; position < 50; ++position) {
    const int32_t token = sample_cpu(row.args(params, position)).token;
    sample_cpu(other.args(params, position));  // what else is drawn does not matter
    EXPECT_EQ(sample_cpu(row.args(params, position)).token, token);
    Sample stream = row.args(params, position);
    stream.stream = 1;
    different_stream += sample_cpu(stream).token != token ? 1 : 0;
    different_seed += sample_cpu(row.args({.seed = 6}, position)).token != token ? 1 : 0;
    different_position += sample_cpu(row.args(params, position + 1000)).token != token ? 1 : 0;
  }
  EXPECT_GT(different_seed, 25);
  EXPECT_GT(different_stream, 25);
  EXPECT_GT(different_position, 25);
}

// All logits equal: the order is that of the ids, so top-k keeps the lowest.
TEST(Sampling, TiesGoToTheLowestIds) {
  Row row(500);
  for (int64_t v = 0; v < 500; ++v) row.logits[v] = 1.5F;
  std::vector<int> counts(500);
  for (uint64_t position = 0; position < 400; ++position) {
    ++counts[static_cast<size_t>(sample_cpu(row.args({.top_k = 3, .seed = 2}, position)).token)];
  }
  EXPECT_GT(counts[0], 0);
  EXPECT_GT(counts[1], 0);
  EXPECT_GT(counts[2], 0);
  EXPECT_EQ(counts[0] + counts[1] + counts[2], 400);
}

TEST(Sampling, AMaskedTokenNeverComes) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Row row(200);
  for (int64_t v = 0; v < 200; ++v) row.logits[v] = v % 100 == 7 ? 0.0F : -kInfinity;
  const SamplingParams settings[] = {
      {.temperature = 0}, {}, {.temperature = 100, .seed = 3}, {.temperature = 1e-30F}, {.top_k = 50},
      {.top_p = 0.999F}};
  for (const SamplingParams& params : settings) {
    for (uint64_t position = 0; position < 100; ++position) {
      const Sampled drawn = sample_cpu(row.args(params, position));
      ASSERT_EQ(drawn.token % 100, 7);
      ASSERT_NEAR(drawn.log_probability, -std::log(2.0F), 1e-6);
      ASSERT_EQ(sample_ref(row.args(params, position)).token, drawn.token);
    }
  }
}

TEST(Sampling, RefusesWhatIsNoDistribution) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (float temperature : {0.0F, 1.0F}) {
    for (float bad : {kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
      for (int64_t at : {0, 1, 2}) {  // among good ones
        Row row(3);
        row.logits[at] = bad;
        EXPECT_THROW(sample_cpu(row.args({.temperature = temperature})), CheckFailure);
        EXPECT_THROW(sample_ref(row.args({.temperature = temperature})), CheckFailure);
      }
    }
    Row row(3);
    for (int64_t v = 0; v < 3; ++v) row.logits[v] = -kInfinity;
    EXPECT_THROW(sample_cpu(row.args({.temperature = temperature})), CheckFailure);
    EXPECT_THROW(sample_ref(row.args({.temperature = temperature})), CheckFailure);
  }
  Row row(3);
  for (float temperature : {-1.0F, kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_THROW(sample_cpu(row.args({.temperature = temperature})), CheckFailure);
  }
}

}  // namespace
}  // namespace fathom::kernels
