// Properties of the whole walk, for every small model.
#include "train/executor.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/half.h"
#include "base/worse_of.h"
#include "kernels/adapted_norms/adapted_norms.h"
#include "train/testing.h"
#include "train/torch_parallel.h"

namespace fathom::train {
namespace {

using testing::depths_of;
using testing::random_batch;
using testing::SmallModel;
using testing::values_of;

// The loss by its definition, in double, from logits and router logits.
// What an auxiliary router learns from reaches nothing before it: `aux_counts` says whether it is added.
double loss_of(const SmallModel& model, const Batch& batch, const ForwardResult& result, double scale,
               bool aux_counts = true) {
  const int64_t vocab = model.plan.dims.vocab_size;
  double total = 0;
  for (int64_t r = 0; r < batch.rows(); ++r) {
    const int32_t label = batch.labels[static_cast<size_t>(r)];
    if (label < 0) continue;
    const float* logits = result.logits.const_data_ptr<float>() + r * vocab;
    const double largest = *std::max_element(logits, logits + vocab);
    double sum = 0;
    for (int64_t v = 0; v < vocab; ++v) sum += std::exp(logits[v] - largest);
    total += scale * (largest + std::log(sum) - logits[label]);
  }
  for (const Segment& segment : model.plan.segments) {
    if (!segment.router) continue;
    const RouterSpec& spec = segment.router->spec;
    if (result.choice) {
      const std::span<const float> z = values_of(result.choice->logits),
                                   w = values_of(result.choice->weights);
      const auto depths = static_cast<size_t>(segment.repeat);
      const auto rows = static_cast<double>(result.choice->chosen.size());
      double squares = 0, balance = 0;
      for (size_t r = 0; r < z.size(); r += depths) {
        double sum = 0;
        for (size_t i = 0; i < depths; ++i) {
          sum += std::exp(double{z[r + i]});
          balance += segment.repeat * result.choice->load[i] * w[r + i] / rows;
        }
        squares += std::pow(std::log(sum), 2) / rows;
      }
      if (spec.loss == RouterLoss::kBalancing) total += spec.loss_coefficient * balance;
      total += spec.z_coefficient * squares;
      continue;
    }
    for (const RoutedPass& pass : result.passes) {
      const bool aux = spec.loss == RouterLoss::kAuxRouter;
      if (spec.random || (aux && !aux_counts)) continue;
      const std::span<const float> z = values_of(aux ? pass.aux_logits : pass.logits);
      double bce = 0, squares = 0;
      for (size_t i = 0; i < z.size(); ++i) {
        const bool kept = std::ranges::binary_search(pass.kept, pass.candidates[i]);
        bce += std::max(double{z[i]}, 0.0) - (kept ? double{z[i]} : 0.0) +
               std::log1p(std::exp(-std::fabs(z[i])));
        squares += double{z[i]} * z[i];
      }
      total += (aux ? 1.0 : spec.loss_coefficient) * bce / static_cast<double>(z.size());
      total += spec.z_coefficient * squares / static_cast<double>(z.size());
    }
  }
  return total;
}

double norm_of(std::span<const float> values) {
  double squares = 0;
  for (float value : values) squares += double{value} * value;
  return std::sqrt(squares);
}

// Mixture-of-Recursions 6.3: the loss of the labels and the z-loss become means over a step's micro-batches,
// the auxiliary loss a sum, unless the model says otherwise.
TEST(Executor, MicroBatchesOfAStepDivideTheRoutersLosses) {
  for (const bool per_step : {false, true}) {
    ModelSpec spec = testing::routed_spec();
    spec.router->loss_per_step = per_step;
    SmallModel model = testing::small_model("routed", spec);
    const Batch batch = random_batch(model.plan, {19, 12});
    Executor executor(model.plan, *model.parameters);
    ForwardOptions options;
    options.loss_scale = 1.0 / 32;
    const ForwardResult alone = executor.forward(batch, options);
    options.accumulation = 4;
    const ForwardResult one_of_four = executor.forward(batch, options);
    EXPECT_EQ(one_of_four.loss_lm, alone.loss_lm);  // loss_scale says it
    EXPECT_EQ(one_of_four.sampling_loss, alone.sampling_loss);
    EXPECT_NEAR(one_of_four.z_loss, alone.z_loss / 4, 1e-6 * alone.z_loss);
    const double auxiliary = 0.5 * alone.sampling_loss / (per_step ? 4 : 1), z = 0.05 * alone.z_loss / 4;
    EXPECT_NEAR(one_of_four.loss.item<float>(), alone.loss_lm + auxiliary + z, 1e-5);
  }
}

// The norms that DoRA divides by, one list for each of its matrices and depths, with the number of its
// magnitude. They are constants on the way back, so finite differences have to hold them as well.
struct Norms {
  explicit Norms(const SmallModel& model) {
    for_each_unrolled_layer(model.plan, [&](const Segment&, const Layer& layer, int32_t depth) {
      for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
        const Adapter& adapter = *matrix.adapter;
        if (!adapter.magnitude.present()) continue;
        const auto values = [&](const ParamRef& ref) {
          return std::as_const(*model.parameters).values(ref.at(depth)).data();
        };
        const std::vector<int64_t>& shape =
            model.plan.params[static_cast<size_t>(matrix.weight.at(depth))].shape;
        std::vector<float> norms(static_cast<size_t>(shape[0]));
        kernels::adapted_norms_fwd_ref({.weight = values(matrix.weight),
                                        .a = values(adapter.a),
                                        .b = values(adapter.b),
                                        .norms = norms.data(),
                                        .in = shape[1],
                                        .out = shape[0],
                                        .rank = adapter.rank,
                                        .scaling = static_cast<float>(adapter.scaling)});
        found.emplace_back(adapter.magnitude.at(depth), std::move(norms));
      }
    });
  }
  std::vector<std::pair<int32_t, std::vector<float>>> found;
};

// Scales magnitudes so that each divided by its norm stays what it was when `before` was taken.
void hold_norms(SmallModel& model, const Norms& before) {
  const Norms now(model);
  for (size_t n = 0; n < now.found.size(); ++n) {
    const std::span<float> magnitude = model.parameters->values(now.found[n].first);
    for (size_t o = 0; o < magnitude.size(); ++o)
      magnitude[o] *= now.found[n].second[o] / before.found[n].second[o];
  }
}

// Every parameter is moved along random signs. Decisions of the routers are held: they have no gradient.
TEST(Executor, GradientsAreThoseOfFiniteDifferences) {
  set_threads(2);
  testing::for_each_small_model([](SmallModel& model) {
    const Batch batch = random_batch(model.plan, {19, 1, 12});
    Executor executor(model.plan, *model.parameters);
    ForwardOptions options;
    options.loss_scale = 1.0 / 32;
    options.want_logits = true;
    const ForwardResult first = executor.forward(batch, options);
    EXPECT_NEAR(first.loss.item<float>(), loss_of(model, batch, first, options.loss_scale), 1e-5);
    first.loss.backward();
    if (!first.passes.empty()) {
      options.routing = Routing::kReplay;
      options.replay_depths = depths_of(first, batch.rows());
    }
    const at::NoGradGuard no_graph;
    double worst = 0;
    for (size_t p = 0; p < model.plan.params.size(); ++p) {
      const auto index = static_cast<int32_t>(p);
      const std::span<float> values = model.parameters->values(index);
      const std::span<const float> gradient = std::as_const(*model.parameters).gradient(index);
      if (!testing::learns(model.plan, index)) {
        EXPECT_TRUE(gradient.empty()) << model.plan.params[p].name;
        continue;
      }
      ASSERT_EQ(gradient.size(), values.size()) << model.plan.params[p].name;
      const std::vector<float> kept(values.begin(), values.end());
      const double size = norm_of(gradient);
      if (testing::cancels(model.plan, index)) {
        EXPECT_LT(size, 1e-6) << model.plan.params[p].name;
        continue;
      }
      ASSERT_GT(size, 1e-6) << model.plan.params[p].name;
      const double step = std::min(2e-3 / size, 1e-2);
      for (uint64_t probe = 0; probe < 2; ++probe) {
        std::vector<float> sign(values.size());
        for (size_t i = 0; i < sign.size(); ++i) sign[i] = uniform(probe, p, i) < 0.5F ? -1.0F : 1.0F;
        double expected = 0;
        for (size_t i = 0; i < sign.size(); ++i) expected += double{gradient[i]} * sign[i];
        const auto loss_at = [&](double distance) {
          const Norms norms(model);
          std::vector<std::vector<float>> magnitudes;
          for (const auto& [param, unused] : norms.found) {
            const std::span<float> magnitude = model.parameters->values(param);
            magnitudes.emplace_back(magnitude.begin(), magnitude.end());
          }
          for (size_t i = 0; i < values.size(); ++i)
            values[i] = kept[i] + static_cast<float>(distance) * sign[i];
          hold_norms(model, norms);
          const ForwardResult result = executor.forward(batch, options);
          std::copy(kept.begin(), kept.end(), values.begin());
          for (size_t n = 0; n < magnitudes.size(); ++n)
            std::ranges::copy(magnitudes[n], model.parameters->values(norms.found[n].first).begin());
          return loss_of(model, batch, result, options.loss_scale,
                         model.plan.params[p].role == ParamRole::kAuxRouter);
        };
        const auto slope = [&](double h) { return (loss_at(h) - loss_at(-h)) / (2 * h); };
        // Richardson: what is left of the third derivative goes.
        const double found = (4 * slope(step / 2) - slope(step)) / 3;
        const double error = std::fabs(found - expected) / size;
        worst = worse_of(worst, error);
        // Losses of this size are known to about 1e-7, logits being floats.
        EXPECT_LE(error, 0.01 + 1e-7 / (step * size))
            << model.plan.params[p].name << ": " << found << ", by backward " << expected;
      }
    }
    ::testing::Test::RecordProperty("worst_" + model.name, std::to_string(worst));
  });
}

struct Outcome {
  std::vector<float> logits;
  double loss = 0;
  std::vector<uint8_t> depths;
  std::vector<std::vector<float>> gradients;
};

Outcome run(SmallModel& model, const Batch& batch, ForwardOptions options) {
  model.parameters->clear_gradients();
  options.want_logits = true;
  Executor executor(model.plan, *model.parameters);
  const ForwardResult result = executor.forward(batch, options);
  result.loss.backward();
  Outcome outcome;
  outcome.logits.assign(values_of(result.logits).begin(), values_of(result.logits).end());
  outcome.loss = result.loss_lm;
  outcome.depths = depths_of(result, batch.rows());
  for (size_t p = 0; p < model.plan.params.size(); ++p) {
    const std::span<const float> gradient = model.parameters->gradient(static_cast<int32_t>(p));
    outcome.gradients.emplace_back(gradient.begin(), gradient.end());
  }
  return outcome;
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  double worst = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = worse_of(worst, std::fabs(double{a[i]} - b[i]));
  return worst;
}

// Auxiliary losses are means over the batch, so they are off here.
TEST(Executor, PackedSequencesAreThoseRunAlone) {
  set_threads(2);
  testing::for_each_small_model([](SmallModel& model) {
    for (Segment& segment : model.plan.segments) {
      if (segment.router) segment.router->spec.loss_coefficient = segment.router->spec.z_coefficient = 0;
    }
    const std::vector<int64_t> lengths = {17, 1, 40, 5};
    const Batch packed = random_batch(model.plan, lengths);
    const Outcome together = run(model, packed, {});
    Outcome alone;
    // Of each parameter, what the sequences' largest gradients add up to: they may cancel, their rounding
    // does not.
    std::vector<double> magnitudes(together.gradients.size());
    for (size_t s = 0; s < lengths.size(); ++s) {
      const RowRange rows = packed.sequences[s];
      Batch one;
      one.add({packed.ids.begin() + rows.begin, packed.ids.begin() + rows.end},
              {packed.labels.begin() + rows.begin, packed.labels.begin() + rows.end});
      const Outcome outcome = run(model, one, {});
      alone.logits.insert(alone.logits.end(), outcome.logits.begin(), outcome.logits.end());
      alone.depths.insert(alone.depths.end(), outcome.depths.begin(), outcome.depths.end());
      alone.loss += outcome.loss;
      alone.gradients.resize(outcome.gradients.size());
      for (size_t p = 0; p < outcome.gradients.size(); ++p) {
        alone.gradients[p].resize(std::max(alone.gradients[p].size(), outcome.gradients[p].size()));
        for (size_t i = 0; i < outcome.gradients[p].size(); ++i)
          alone.gradients[p][i] += outcome.gradients[p][i];
        magnitudes[p] +=
            largest_difference(outcome.gradients[p], std::vector<float>(outcome.gradients[p].size()));
      }
    }
    EXPECT_EQ(together.depths, alone.depths);
    EXPECT_LE(largest_difference(together.logits, alone.logits), 2e-5);
    EXPECT_NEAR(together.loss, alone.loss, 1e-6 * std::fabs(alone.loss));
    for (size_t p = 0; p < together.gradients.size(); ++p) {
      // What teaches these is a mean over the batch and nothing else.
      if (model.plan.params[p].role == ParamRole::kAuxRouter) continue;
      const double least = testing::cancels(model.plan, static_cast<int32_t>(p)) ? 1 : 1e-3;
      EXPECT_LE(largest_difference(together.gradients[p], alone.gradients[p]),
                2e-5 * std::max(least, magnitudes[p]))
          << model.plan.params[p].name;
    }
  });
}

// In every precision: products, attention and scans share their work out differently.
TEST(Executor, AnyNumberOfThreadsGivesTheSameBits) {
  testing::for_each_small_model([](SmallModel& model) {
    const Batch batch = random_batch(model.plan, {33, 14});
    for (Precision precision : {Precision::kF32, Precision::kF32DoubleSums, Precision::kBF16}) {
      ForwardOptions options;
      options.precision = precision;
      set_threads(1);
      const Outcome one = run(model, batch, options);
      set_threads(3);
      const Outcome three = run(model, batch, options);
      set_threads(2);
      EXPECT_EQ(one.depths, three.depths);
      EXPECT_EQ(one.loss, three.loss);
      EXPECT_EQ(one.logits, three.logits);
      EXPECT_EQ(one.gradients, three.gradients);
    }
  });
}

// A later token changes no earlier row, except through top-k, which looks at the whole sequence.
TEST(Executor, LaterTokensDoNotChangeEarlierRows) {
  set_threads(1);
  testing::for_each_small_model([](SmallModel& model) {
    Batch batch = random_batch(model.plan, {30});
    ForwardOptions options;
    options.routing = Routing::kThreshold;
    const Outcome before = run(model, batch, options);
    batch.ids[25] = (batch.ids[25] + 1) % static_cast<int32_t>(model.plan.dims.vocab_size);
    const Outcome after = run(model, batch, options);
    const auto vocab = static_cast<size_t>(model.plan.dims.vocab_size);
    const std::span first(before.logits), second(after.logits);
    EXPECT_LE(largest_difference(first.first(25 * vocab), second.first(25 * vocab)), 2e-5);
    EXPECT_GT(largest_difference(first.subspan(25 * vocab), second.subspan(25 * vocab)), 1e-3);
    if (!before.depths.empty()) {
      EXPECT_TRUE(std::equal(before.depths.begin(), before.depths.begin() + 25, after.depths.begin()));
    }
  });
}

TEST(Executor, ReplayedDecisionsGiveTheSameBits) {
  set_threads(1);
  int routed = 0;
  testing::for_each_small_model([&](SmallModel& model) {
    const Batch batch = random_batch(model.plan, {25, 8});
    for (Routing routing : {Routing::kTopK, Routing::kThreshold}) {
      ForwardOptions options;
      options.routing = routing;
      const Outcome decided = run(model, batch, options);
      if (std::ranges::count(decided.depths, uint8_t{0}) == batch.rows()) return;
      options.routing = Routing::kReplay;
      options.replay_depths = decided.depths;
      const Outcome replayed = run(model, batch, options);
      EXPECT_EQ(replayed.logits, decided.logits);
      EXPECT_EQ(replayed.depths, decided.depths);
      EXPECT_EQ(replayed.gradients, decided.gradients);
    }
    ++routed;
    ForwardOptions wrong;
    wrong.routing = Routing::kReplay;
    wrong.replay_depths = {1};
    EXPECT_THROW(run(model, batch, wrong), CheckFailure);
  });
  EXPECT_GE(routed, 8);
}

// Mixture-of-Recursions 3.2: k_r = floor(c_r * length), per sequence and at least one.
TEST(Executor, EverySequenceHasItsOwnCapacity) {
  SmallModel model = testing::small_model("mor", testing::spec_named("mor-middle_cycle-nr3"));
  const Batch batch = random_batch(model.plan, {30, 1, 8, 2});
  Executor executor(model.plan, *model.parameters);
  const ForwardResult result = executor.forward(batch, {});
  const int64_t expected[3][4] = {{30, 1, 8, 2}, {20, 1, 5, 1}, {10, 1, 2, 1}};
  ASSERT_EQ(result.passes.size(), 3U);
  for (size_t r = 0; r < 3; ++r) {
    for (size_t s = 0; s < batch.sequences.size(); ++s) {
      const RowRange rows = batch.sequences[s];
      EXPECT_EQ(std::ranges::count_if(result.passes[r].kept,
                                      [&](int32_t row) { return row >= rows.begin && row < rows.end; }),
                expected[r][s])
          << "pass " << r << ", sequence " << s;
    }
    EXPECT_TRUE(std::ranges::is_sorted(result.passes[r].kept));
    EXPECT_TRUE(std::ranges::includes(result.passes[r].candidates, result.passes[r].kept));
  }
}

TEST(Executor, ABatchWithoutLabelsHasNoLossAndZeroGradients) {
  SmallModel model = testing::small_model("llama", testing::spec_named("llama"));
  Batch batch = random_batch(model.plan, {9});
  std::ranges::fill(batch.labels, -100);
  const Outcome outcome = run(model, batch, {});
  EXPECT_EQ(outcome.loss, 0);
  for (const std::vector<float>& gradient : outcome.gradients) EXPECT_EQ(norm_of(gradient), 0);
}

double gradient_difference(const Outcome& a, const Outcome& b) {
  double difference = 0, size = 0;
  for (size_t p = 0; p < a.gradients.size(); ++p) {
    EXPECT_EQ(a.gradients[p].size(), b.gradients[p].size());
    for (size_t i = 0; i < std::min(a.gradients[p].size(), b.gradients[p].size()); ++i) {
      difference += std::pow(double{a.gradients[p][i]} - b.gradients[p][i], 2);
      size += std::pow(double{b.gradients[p][i]}, 2);
    }
  }
  return std::sqrt(difference / size);
}

// How much a rounding is magnified on its way depends on the model. So the measure is another rounding of the
// same kind: that of the weights alone, in float. With the same decisions where there are any.
TEST(Executor, Bfloat16ProductsMoveGradientsAsRoundedWeightsDo) {
  set_threads(2);
  testing::for_each_small_model([](SmallModel& model) {
    const Batch batch = random_batch(model.plan, {33, 14});
    ForwardOptions options;
    options.loss_scale = 1.0 / 47;
    const Outcome exact = run(model, batch, options);
    if (std::ranges::count(exact.depths, uint8_t{0}) != batch.rows()) {
      options.routing = Routing::kReplay;
      options.replay_depths = exact.depths;
    }
    options.precision = Precision::kBF16;
    const Outcome products = run(model, batch, options);
    options.precision = Precision::kF32;
    for (size_t p = 0; p < model.plan.params.size(); ++p) {
      for (float& value : model.parameters->values(static_cast<int32_t>(p))) value = round_to_bfloat16(value);
    }
    const Outcome weights = run(model, batch, options);
    EXPECT_GT(gradient_difference(products, exact), 0);  // the losses alone may be equal by chance
    EXPECT_NEAR(products.loss, exact.loss, 0.02 * exact.loss);
    EXPECT_LE(gradient_difference(products, exact), 2 * gradient_difference(weights, exact));
    ::testing::Test::RecordProperty(
        "ratio_" + model.name,
        std::to_string(gradient_difference(products, exact) / gradient_difference(weights, exact)));
  });
}

}  // namespace
}  // namespace fathom::train
