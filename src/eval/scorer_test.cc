// Log-likelihoods are those of the model's softmax, and sharing what requests have in common changes no bit.
#include "eval/scorer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "plan/testing.h"
#include "plan/work.h"
#include "weights/random_weights.h"

namespace fathom::eval {
namespace {

using namespace testing_plan;
using Ids = std::vector<int32_t>;

constexpr int64_t kMost = 48;

Ids some_tokens(size_t count, uint64_t seed) {
  Ids ids;
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    ids.push_back(static_cast<int32_t>((seed >> 33) % 97));
  }
  return ids;
}

Ids joined(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Calls with much in common inside and from one to the next, as few-shot questions are.
std::vector<std::vector<Request>> calls() {
  const Ids examples = some_tokens(20, 1);
  std::vector<std::vector<Request>> all;
  for (uint64_t question = 0; question < 4; ++question) {
    const Ids context =
        joined(question == 3 ? some_tokens(20, 9) : examples, some_tokens(5 + question, 10 + question));
    std::vector<Request> requests;
    for (uint64_t choice = 0; choice < 4; ++choice) {
      const size_t length = question == 1 ? 1 : 1 + choice;  // one token each: the same inputs
      requests.push_back(make_request(joined(context, some_tokens(length, 100 * question + choice)),
                                      static_cast<int64_t>(length)));
    }
    all.push_back(std::move(requests));
  }
  return all;
}

std::vector<ModelSpec> specs() { return {tiny(), tiny_mor(Sharing::kMiddleCycle, 3), hybrid("sambay", 8)}; }

TEST(Scorer, SharingChangesNoBit) {
  for (const ModelSpec& spec : specs()) {
    SCOPED_TRACE(spec.architecture);
    const ModelPlan plan = *build_plan(spec);
    SerialParallel serial;
    const Weights weights = random_weights(plan, 3, DType::kF32, serial);
    for (const int64_t chunk : {1, 7, 256}) {
      Scorer sharing(plan, weights, {.max_inputs = kMost, .chunk = chunk}, serial);
      int64_t rows_alone = 0;
      for (const std::vector<Request>& requests : calls()) {
        const std::vector<Score> scores = sharing.score(requests);
        for (size_t i = 0; i < requests.size(); ++i) {
          Scorer fresh(plan, weights, {.max_inputs = kMost}, serial);
          const Score alone = fresh.score({&requests[i], 1}).front();
          EXPECT_EQ(scores[i].log_likelihood, alone.log_likelihood);
          EXPECT_EQ(scores[i].greedy, alone.greedy);
          rows_alone += fresh.spent().rows();
        }
      }
      EXPECT_LT(sharing.spent().rows(), rows_alone / 3);
    }
  }
}

// The log-likelihood of a request from all logits of one call, in double.
double by_hand(const ModelPlan& plan, const Weights& weights, const Request& request, RoutingMode routing) {
  SerialParallel serial;
  Executor executor(plan, weights, request.inputs, request.inputs, serial);
  SequenceState state = executor.make_state(DType::kF32);
  ForwardOptions options;
  options.routing = routing;
  options.logits = Logits::kAll;
  const float* logits =
      executor.forward(state, std::span(request.tokens).first(static_cast<size_t>(request.inputs)), options)
          .logits;
  const int64_t vocab = plan.dims.vocab_size;
  double sum = 0;
  for (int64_t t = request.first_target; t < static_cast<int64_t>(request.tokens.size()); ++t) {
    const float* row = logits + (t - 1) * vocab;
    double exponentials = 0;
    for (int64_t i = 0; i < vocab; ++i) exponentials += std::exp(static_cast<double>(row[i]));
    sum += row[request.tokens[static_cast<size_t>(t)]] - std::log(exponentials);
  }
  return sum;
}

TEST(Scorer, TheNumberIsTheSoftmaxOfTheTargets) {
  SerialParallel serial;
  for (const ModelSpec& spec : specs()) {
    const ModelPlan plan = *build_plan(spec);
    const Weights weights = random_weights(plan, 3, DType::kF32, serial);
    Scorer scorer(plan, weights, {.max_inputs = kMost}, serial);
    for (const std::vector<Request>& requests : calls()) {
      const std::vector<Score> scores = scorer.score(requests);
      for (size_t i = 0; i < requests.size(); ++i) {
        EXPECT_NEAR(scores[i].log_likelihood, by_hand(plan, weights, requests[i], RoutingMode::kThreshold),
                    1e-5);
      }
    }
  }
}

TEST(Scorer, TopKScoresEachRequestInACallOfItsOwn) {
  SerialParallel serial;
  const ModelPlan plan = *build_plan(tiny_mor(Sharing::kMiddleCycle, 3));
  const Weights weights = random_weights(plan, 3, DType::kF32, serial);
  Scorer scorer(plan, weights, {.routing = RoutingMode::kTopK, .max_inputs = kMost}, serial);
  int64_t rows = 0;
  for (const std::vector<Request>& requests : calls()) {
    const std::vector<Score> scores = scorer.score(requests);
    for (size_t i = 0; i < requests.size(); ++i)
      EXPECT_NEAR(scores[i].log_likelihood, by_hand(plan, weights, requests[i], RoutingMode::kTopK), 1e-5);
    rows += requests.front().inputs;
  }
  EXPECT_GT(scorer.spent().rows(), rows);
  // Capacities 1, 2/3, 1/3 of the rows of each call, rounded down.
  EXPECT_NEAR(scorer.spent().mean_depth(), 2, 0.06);
}

TEST(Scorer, GreedyMeansThatEachTargetIsTheMostProbable) {
  SerialParallel serial;
  const ModelPlan plan = *build_plan(tiny());
  const Weights weights = random_weights(plan, 3, DType::kF32, serial);
  Executor executor(plan, weights, 16, 16, serial);
  SequenceState state = executor.make_state(DType::kF32);
  Ids tokens = some_tokens(6, 4);
  Ids next = tokens;
  for (int i = 0; i < 3; ++i) {
    const float* logits = executor.forward(state, next, {}).logits;
    next = {static_cast<int32_t>(std::max_element(logits, logits + plan.dims.vocab_size) - logits)};
    tokens.push_back(next.front());
  }
  Scorer scorer(plan, weights, {.max_inputs = 16}, serial);
  const Request best = make_request(tokens, 3);
  EXPECT_TRUE(scorer.score({&best, 1}).front().greedy);
  for (size_t at = 6; at < 9; ++at) {
    Ids other = tokens;
    other[at] = (other[at] + 1) % 97;
    const Request worse = make_request(other, 3);
    EXPECT_FALSE(scorer.score({&worse, 1}).front().greedy) << at;
  }
}

TEST(Scorer, WorkIsCountedByThePlansFormulas) {
  SerialParallel serial;
  const ModelPlan plan = *build_plan(tiny());
  const Weights weights = random_weights(plan, 3, DType::kF32, serial);
  Scorer scorer(plan, weights, {.max_inputs = kMost}, serial);
  const Request request = make_request(some_tokens(21, 5), 20);
  scorer.score({&request, 1});
  EXPECT_EQ(scorer.spent().rows(), 20);
  EXPECT_EQ(scorer.spent().mean_depth(), 0);
  EXPECT_NEAR(scorer.spent().flops_per_row(plan) * 20 / count_work(plan, 0, 20, 20).total(), 1, 1e-9);
}

TEST(Scorer, ContextTakesThePrefillShortcutAndIsCountedSo) {
  SerialParallel serial;
  const ModelPlan plan = *build_plan(hybrid("sambay", 8));
  const Weights weights = random_weights(plan, 3, DType::kF32, serial);
  Scorer scorer(plan, weights, {.max_inputs = kMost}, serial);
  const Request request = make_request(some_tokens(21, 5), 4);
  scorer.score({&request, 1});
  const double spent = scorer.spent().flops_per_row(plan) * 20;
  const double expected =
      count_prefill_work(plan, 0, 16, 0).total() + count_prefill_work(plan, 16, 20, 4).total();
  EXPECT_NEAR(spent / expected, 1, 1e-9);
  EXPECT_LT(spent, 0.9 * count_work(plan, 0, 20, 4).total());
}

}  // namespace
}  // namespace fathom::eval
