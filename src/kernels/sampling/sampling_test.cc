#include "kernels/sampling/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Row {
  explicit Row(int64_t vocab, uint64_t stream = 1, float scale = 2.0F)
      : logits(Buffer::normal(vocab, stream, scale)),
        workspace(static_cast<size_t>(sampling_workspace(vocab)) + kGuard, kGuardValue) {}
  Sample args(SamplingParams params, uint64_t position = 0) {
    return {logits.data(), logits.size(), params, 0, position, workspace.data()};
  }
  bool intact() const {
    return std::all_of(workspace.end() - kGuard, workspace.end(),
                       [](uint8_t byte) { return byte == kGuardValue; });
  }
  static constexpr int kGuard = 64;
  static constexpr uint8_t kGuardValue = 0xa5;
  Buffer logits;
  std::vector<uint8_t> workspace;
};

Sampled drawn(const Sample& args) {
  SerialParallel serial;
  return *sample_cpu(args, serial);
}

// What either form says of logits that are no distribution.
std::string refusal(const Sample& args) {
  SerialParallel serial;
  const Result<Sampled> cpu = sample_cpu(args, serial), ref = sample_ref(args);
  if (cpu.ok() || ref.ok()) return "nothing";
  EXPECT_EQ(cpu.error().message, ref.error().message);
  return cpu.error().message;
}

// How far the uniform number of a draw lies outside the token's share of the weight that is drawn from:
// beyond rounding, another token would have been right.
double distance_from_share(const Sample& args, int32_t token) {
  const SamplingParams& p = args.params;
  std::vector<std::pair<double, int64_t>> order;
  for (int64_t v = 0; v < args.vocab; ++v) order.emplace_back(-args.logits[v], v);
  std::sort(order.begin(), order.end());
  if (p.top_k > 0 && p.top_k < args.vocab) order.resize(static_cast<size_t>(p.top_k));
  std::vector<double> reached;
  for (const auto& [logit, id] : order) {
    const double weight = std::exp((order[0].first - logit) / p.temperature);
    reached.push_back((reached.empty() ? 0 : reached.back()) + weight);
  }
  size_t kept = 1;
  while (kept < order.size() && (p.top_p >= 1 || reached[kept - 1] < p.top_p * reached.back()) &&
         reached[kept] - reached[kept - 1] >= p.min_p) {
    ++kept;
  }
  const double u = uniform(p.seed, args.stream, args.position);
  for (size_t i = 0; i < kept; ++i) {
    if (order[i].second != token) continue;
    const double begin = i == 0 ? 0 : reached[i - 1];
    return std::max({0.0, begin / reached[kept - 1] - u, u - reached[i] / reached[kept - 1]});
  }
  return 1;
}

TEST(Sampling, GreedyTakesTheLowestIdAmongTheLargest) {
  Row row(20);
  row.logits[13] = row.logits[5] = 50.0F;
  EXPECT_EQ(drawn(row.args({.temperature = 0})).token, 5);
  EXPECT_NEAR(drawn(row.args({.temperature = 0})).log_probability, -std::log(2.0F), 1e-6);
}

// Around the edges of groups and blocks, in steep rows and in flat ones.
TEST(Sampling, GreedyIsTheFirstOfTheLargestWhereverItLies) {
  testing::for_each_level([] {
    for (int64_t vocab : {1, 63, 64, 65, 2048, 2049, 5000}) {
      Row row(vocab, 3);
      for (int64_t first : {0, 1, 62, 63, 64, 2047, 2048, 4998, 4999}) {
        for (int64_t second : {first, first + 1, vocab - 1}) {
          if (first >= vocab || second >= vocab || second < first) continue;
          const float kept_first = row.logits[first], kept_second = row.logits[second];
          row.logits[first] = row.logits[second] = 40.0F;
          ASSERT_EQ(drawn(row.args({.temperature = 0})).token, first) << vocab;
          row.logits[second] = kept_second;
          row.logits[first] = kept_first;
        }
      }
      EXPECT_TRUE(row.intact());
    }
  });
}

TEST(Sampling, CpuEqualsRef) {
  testing::for_each_level([] {
    for (int64_t vocab : {1, 2, 50, 64, 65, 1000, 4100}) {
      for (float scale : {2.0F, 1e-3F}) {
        Row row(vocab, static_cast<uint64_t>(vocab), scale);
        for (int64_t v = 0; v + 7 < vocab; v += 7) row.logits[v] = row.logits[v + 3];  // ties
        const SamplingParams settings[] = {
            {},
            {.temperature = 0.5F, .seed = 4},
            {.temperature = 30.0F, .seed = 4},
            {.top_k = 5, .seed = 5},
            {.top_k = 64, .seed = 5},
            {.top_k = 65, .seed = 5},
            {.top_k = 999, .seed = 5},
            {.top_p = 0.7F, .seed = 6},
            {.temperature = 0.6F, .top_p = 0.95F, .seed = 6},
            {.min_p = 0.2F, .seed = 7},
            {.top_p = 0.5F, .min_p = 0.01F, .seed = 7},
            {.temperature = 1.5F, .top_k = 40, .top_p = 0.9F, .min_p = 0.05F, .seed = 8}};
        for (const SamplingParams& params : settings) {
          for (uint64_t position = 0; position < (vocab > 500 ? 10 : 50); ++position) {
            const Sample args = row.args(params, position);
            const Sampled ref = *sample_ref(args), cpu = drawn(args);
            ASSERT_LE(distance_from_share(args, cpu.token), 1e-6) << vocab << ", " << position;
            if (cpu.token == ref.token) {
              ASSERT_NEAR(cpu.log_probability, ref.log_probability, 2e-6);
            }
          }
        }
        EXPECT_TRUE(row.intact());
      }
    }
  });
}

// Of a large vocabulary, where most of the weight is far from the largest logit and rounded the same way.
TEST(Sampling, LogProbabilitiesAreWithinAMillionth) {
  constexpr int64_t kVocab = 200064;
  testing::for_each_level([] {
    Row row(kVocab);
    for (float most : {0.0F, 3.3333F, 9.9F, 12.2F, 15.7F}) {
      for (float rest : {0.0123F, -0.3F, 1.7F}) {
        for (int64_t v = 0; v < kVocab; ++v) row.logits[v] = rest;
        row.logits[77777] = rest + most;
        const double distance = double{row.logits[77777]} - rest;
        const double exact = -std::log1p((kVocab - 1) * std::exp(-distance));
        const Sampled cpu = drawn(row.args({.temperature = 0}));
        // And half a unit in the last place of the float.
        ASSERT_NEAR(cpu.log_probability, exact, 1e-6 + std::ldexp(std::fabs(exact), -24))
            << most << " " << rest;
      }
    }
  });
}

TEST(Sampling, TheBitsAreTheSameForAnyNumberOfThreads) {
  ThreadPool two(2), five(5);
  const SamplingParams settings[] = {{.temperature = 0},
                                     {.temperature = 0.8F},
                                     {.temperature = 0.6F, .top_p = 0.95F},
                                     {.temperature = 0.8F, .top_k = 50},
                                     {.min_p = 0.05F}};
  testing::for_each_level([&] {
    for (float scale : {3.0F, 1e-3F}) {
      Row row(30011, 9, scale);
      for (const SamplingParams& params : settings) {
        for (uint64_t position = 0; position < 20; ++position) {
          const Sampled one = drawn(row.args(params, position));
          for (Parallel* pool : {&two, &five}) {
            const Sampled many = *sample_cpu(row.args(params, position), *pool);
            ASSERT_EQ(many.token, one.token);
            ASSERT_EQ(many.log_probability, one.log_probability);
          }
        }
      }
    }
  });
}

TEST(Sampling, DrawsFollowTheSoftmax) {
  Row row(5);
  for (int64_t v = 0; v < 5; ++v)
    row.logits[v] = std::log(static_cast<float>(v + 1));  // probabilities (v + 1) / 15
  std::vector<int> counts(5);
  constexpr int kDraws = 30000;
  for (uint64_t position = 0; position < kDraws; ++position) {
    ++counts[static_cast<size_t>(drawn(row.args({.seed = 3}, position)).token)];
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
    EXPECT_EQ(drawn(row.args({.top_p = 0.4F}, position)).token, 0);
    EXPECT_LE(drawn(row.args({.top_p = 0.6F}, position)).token, 1);
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
    ++counts[static_cast<size_t>(drawn(row.args(params, position)).token)];
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
    const int32_t token = drawn(row.args(params, position)).token;
    drawn(other.args(params, position));  // what else is drawn does not matter
    EXPECT_EQ(drawn(row.args(params, position)).token, token);
    Sample stream = row.args(params, position);
    stream.stream = 1;
    different_stream += drawn(stream).token != token ? 1 : 0;
    different_seed += drawn(row.args({.seed = 6}, position)).token != token ? 1 : 0;
    different_position += drawn(row.args(params, position + 1000)).token != token ? 1 : 0;
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
    ++counts[static_cast<size_t>(drawn(row.args({.top_k = 3, .seed = 2}, position)).token)];
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
      const Sampled cpu = drawn(row.args(params, position));
      ASSERT_EQ(cpu.token % 100, 7);
      ASSERT_NEAR(cpu.log_probability, -std::log(2.0F), 1e-6);
      ASSERT_EQ(sample_ref(row.args(params, position))->token, cpu.token);
    }
  }
}

TEST(Sampling, RefusesNaNAndInfinityWhereverTheyAreByTheirToken) {
  testing::for_each_level([] {
    for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      for (int64_t at : {0, 7, 63, 64, 2047, 2048, 4095, 4098, 4099}) {
        Row row(4100);
        row.logits[at] = bad;
        EXPECT_EQ(refusal(row.args({})), "the logit of token " + std::to_string(at) + " is NaN or infinite");
      }
    }
  });
}

TEST(Sampling, RefusesWhatIsNoDistribution) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (float temperature : {0.0F, 1.0F}) {
    for (float bad : {kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
      for (int64_t at : {0, 1, 2}) {  // among good ones
        Row row(3);
        row.logits[at] = bad;
        EXPECT_EQ(refusal(row.args({.temperature = temperature})),
                  "the logit of token " + std::to_string(at) + " is NaN or infinite");
      }
    }
    Row row(3);
    for (int64_t v = 0; v < 3; ++v) row.logits[v] = -kInfinity;
    EXPECT_EQ(refusal(row.args({.temperature = temperature})), "no logit is finite");
  }
  Row row(3);
  for (float temperature : {-1.0F, kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_THROW(drawn(row.args({.temperature = temperature})), CheckFailure);
  }
}

}  // namespace
}  // namespace fathom::kernels
