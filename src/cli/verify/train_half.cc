#include "cli/verify/train_half.h"

#include <algorithm>
#include <cmath>

#include "cli/verify/case_batch.h"
#include "cli/verify/recorded_routers.h"
#include "plan/spec_words.h"
#include "train/executor.h"
#include "train/router_schedule.h"
#include "train/svd_start.h"
#include "weights/checkpoint.h"
#include "weights/uptraining.h"

namespace fathom::cli::verify {

namespace {

// Of large gradients a case may hold the norm alone. Where the record says by how much a norm in float misses
// that in double, ten times that is allowed, if it is more.
void compare_gradient_norms(const ModelCase& c, const std::vector<TensorView>& views, Report& report) {
  const nlohmann::json norms = c.record.value("gradient_norms", nlohmann::json::object());
  const nlohmann::json unsure = c.record.value("gradients_not_determined_in_fp32", nlohmann::json::object());
  for (const TensorView& view : views) {
    const std::string& name = view.spec.name;
    if (c.io.has("grad." + name) || !norms.contains(name) || !norms[name].is_number()) continue;
    const std::span got(reinterpret_cast<const float*>(view.bytes.data()), view.bytes.size() / sizeof(float));
    double squares = 0;
    for (const float value : got) squares += double{value} * value;
    const auto recorded = norms[name].get<double>();
    double limit = c.limits.gradients;
    if (unsure.contains(name) && unsure[name].is_number())
      limit = std::max(limit, 10 * unsure[name].get<double>());
    report.add({"train", "norm of grad." + name, Measure::kRelativeL2,
                std::abs(std::sqrt(squares) - recorded) / (recorded != 0 ? recorded : 1), limit});
  }
}

// Weights that nothing depends on have no gradient.
void compare_unmoved(const ModelCase& c, const std::vector<TensorView>& views, Report& report) {
  const auto unmoved =
      c.record.value("parameters_without_gradient", nlohmann::json::array()).get<std::vector<std::string>>();
  std::vector<float> got;
  for (const TensorView& view : views) {
    if (std::ranges::find(unmoved, view.spec.name) == unmoved.end()) continue;
    const std::span values(reinterpret_cast<const float*>(view.bytes.data()),
                           view.bytes.size() / sizeof(float));
    got.insert(got.end(), values.begin(), values.end());
  }
  if (got.empty()) return;
  report.compare("train", "gradients of parameters_without_gradient", Kind::kSelections, got,
                 std::vector<float>(got.size()));
}

// Recorded gradients are sums over all uses, as ours are: the name table tells which rows of which
// parameters.
void compare_gradients(ModelCase& c, const train::Parameters& parameters, Report& report) {
  std::vector<std::vector<uint8_t>> storage;
  std::vector<std::vector<float>> zeros(c.plan.params.size());
  const auto gradient = [&](int32_t param) -> std::span<const float> {
    const std::span<const float> grad = parameters.gradient(param);
    if (!grad.empty()) return grad;
    auto& none = zeros[static_cast<size_t>(param)];
    none.resize(static_cast<size_t>(elements_of(c.plan.params[static_cast<size_t>(param)])));
    return none;
  };
  const std::vector<TensorView> views = checkpoint_views(c.plan, c.scheme, DType::kF32, gradient, storage);
  const auto largest_of = [](std::span<const float> values) {
    double largest = 0;
    for (const float value : values) largest = std::max(largest, std::fabs(double{value}));
    return largest;
  };
  double largest = 0;
  for (const TensorView& view : views) {
    if (const std::string name = "grad." + view.spec.name; c.io.has(name))
      largest = std::max(largest, largest_of(c.io.at(name).values));
  }
  for (const TensorView& view : views) {
    const std::string name = "grad." + view.spec.name;
    if (!c.io.has(name)) continue;
    const std::span got(reinterpret_cast<const float*>(view.bytes.data()), view.bytes.size() / sizeof(float));
    const Kind kind = name.ends_with(".adaption_gate") ? Kind::kGates : Kind::kGradients;
    // What is left where terms as large as others' gradients cancel is as exact as they are.
    const double own = largest_of(c.io.at(name).values);
    const double cancelled = own > 0 ? 1e-6 * largest / own : 0;
    report.compare("train", name, kind, got, c.io.at(name).values,
                   kind == Kind::kGradients ? std::min(c.limits.gradients_in_float, cancelled) : 0);
  }
  compare_gradient_norms(c, views, report);
  compare_unmoved(c, views, report);
}

void compare_scalar(ModelCase& c, Report& report, const std::string& name, double got) {
  if (const auto recorded = recorded_scalar(c, name))
    report.compare("train", name, Kind::kLosses, got, *recorded);
}

// B A of every adapter, computed from the model that the case started from. Singular vectors have no sign, so
// A and B are not compared.
Status compare_svd_start(ModelCase& c, const train::Parameters& recorded, Report& report) {
  FATHOM_ASSIGN(const ModelPlan vanilla, build_plan(vanilla_spec(c.plan.spec, /*tied=*/true)));
  FATHOM_ASSIGN(const WeightFiles files, WeightFiles::open(c.path + "/source.safetensors"));
  train::Parameters source(vanilla), started(c.plan);
  FATHOM_TRY(train::load_parameters(vanilla, naming_of(vanilla), files, source));
  FATHOM_TRY(train::load_parameters(c.plan, c.scheme, *c.weights, started));
  train::start_adapters(c.plan, train::matrices_of(vanilla, source), started);
  const auto product = [](const train::Parameters& parameters, const Adapter& adapter, int32_t depth) {
    const std::span<const float> a = parameters.values(adapter.a.at(depth)),
                                 b = parameters.values(adapter.b.at(depth));
    const auto rank = static_cast<size_t>(adapter.rank), in = a.size() / rank, out = b.size() / rank;
    std::vector<float> result(out * in);
    for (size_t i = 0; i < result.size(); ++i) {
      double total = 0;
      for (size_t k = 0; k < rank; ++k) total += double{b[i / in * rank + k]} * a[k * in + i % in];
      result[i] = static_cast<float>(total);
    }
    return result;
  };
  int64_t unrolled = 0;
  for_each_unrolled_layer(c.plan, [&](const Segment&, const Layer& layer, int32_t depth) {
    for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
      report.compare(
          "train",
          "layer." + std::to_string(unrolled) + "." + std::string(word_of(matrix.projection)) + " B A",
          Kind::kParameters, product(started, *matrix.adapter, depth),
          product(recorded, *matrix.adapter, depth));
    }
    ++unrolled;
  });
  return {};
}

}  // namespace

Status verify_in_trainer(ModelCase& c, Report& report) {
  train::Parameters parameters(c.plan);
  FATHOM_TRY(train::load_parameters(c.plan, c.scheme, *c.weights, parameters));
  FATHOM_ASSIGN(const std::vector<CaseSequence> sequences, sequences_of(c));

  const train::Batch batch = batch_of(c, sequences);
  train::ForwardOptions options;
  options.precision = train::Precision::kF32DoubleSums;
  options.loss_scale = 1.0 / items_in_batch(c, sequences);
  options.want_logits = true;
  options.accumulation = router_divisor(c, sequences);
  train::set_warmups(c.plan, /*call=*/1, options);
  const std::vector<float> biases = router_biases(c.plan, parameters);
  train::LoadBalancer(c.plan, parameters).begin_call(options);
  for (size_t s = 0; s < sequences.size(); ++s) {
    const CaseSequence& sequence = sequences[s];
    // [depth, rows of all sequences]
    const std::vector<float> draws = router_draws(c, sequence);
    const size_t length = sequence.tokens.size();
    const auto rows = static_cast<size_t>(batch.rows());
    const auto first = static_cast<size_t>(batch.sequences[s].begin);
    options.router_draws.resize(draws.size() / length * rows);
    for (size_t i = 0; i < draws.size(); ++i)
      options.router_draws[i / length * rows + first + i % length] = draws[i];
  }
  train::Executor executor(c.plan, parameters);
  const train::ForwardResult result = executor.forward(batch, options);
  result.loss.backward();

  RowComparison logits;
  const int64_t vocab = c.plan.dims.vocab_size;
  if (c.io.has("logits")) {
    for (size_t s = 0; s < sequences.size(); ++s) {
      logits.add(sequences[s], result.logits.const_data_ptr<float>() + batch.sequences[s].begin * vocab,
                 static_cast<int64_t>(sequences[s].tokens.size()), vocab, c.io.at("logits"));
    }
    logits.report(report, "train", "logits", Kind::kLogits);
  }
  compare_scalar(c, report, "loss", result.loss_lm);
  compare_scalar(c, report, "scalar.loss_lm", result.loss_lm);
  compare_scalar(c, report, "scalar.loss_total", result.loss_total);
  compare_scalar(c, report, "scalar.sampling_loss", result.sampling_loss);
  compare_scalar(c, report, "scalar.router_z_loss", result.z_loss);
  compare_scalar(c, report, "router.router_z_loss", result.z_loss);
  compare_routers(c, report, "", sequences, batch, result, biases);
  compare_gradients(c, parameters, report);
  if (c.plan.spec.relaxation && c.plan.spec.relaxation->svd_init != SvdInit::kNone)
    FATHOM_TRY(compare_svd_start(c, parameters, report));
  for (const std::string& tensor : c.io.unseen()) {
    const bool left_to_us = c.training_differs() && (tensor == "logits" || tensor.starts_with("router."));
    if (belongs_to_training(tensor) || left_to_us) {
      return invalid(c.path + "/io.safetensors: nothing here answers for tensor " + tensor);
    }
  }
  return {};
}

}  // namespace fathom::cli::verify
