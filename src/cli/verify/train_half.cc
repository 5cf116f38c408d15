#include "cli/verify/train_half.h"

#include <algorithm>
#include <cmath>

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
  for (const TensorView& view : views) {
    const std::string name = "grad." + view.spec.name;
    if (!c.io.has(name)) continue;
    const std::span got(reinterpret_cast<const float*>(view.bytes.data()), view.bytes.size() / sizeof(float));
    const Kind kind = name.ends_with(".adaption_gate") ? Kind::kGates : Kind::kGradients;
    report.compare("train", name, kind, got, c.io.at(name).values);
  }
  compare_gradient_norms(c, views, report);
  compare_unmoved(c, views, report);
}

void compare_scalar(ModelCase& c, Report& report, const std::string& name, double got) {
  if (const auto recorded = recorded_scalar(c, name))
    report.compare("train", name, Kind::kLosses, got, *recorded);
}

std::span<const float> values_of(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

// The biases of load balancing, empty without any.
std::vector<float> biases_of(const ModelPlan& plan, const train::Parameters& parameters) {
  for (const Segment& segment : plan.segments) {
    if (!segment.router || !segment.router->bias.present()) continue;
    const std::span<const float> bias = parameters.values(segment.router->bias.at(0));
    return {bias.begin(), bias.end()};
  }
  return {};
}

// Rows of token choice are all rows of the batch, in their order. `biases` are those that the call began
// with: a forced one takes them away after its scores were made.
void compare_choice(ModelCase& c, Report& report, const train::TokenChoice& choice,
                    const std::vector<float>& biases) {
  compare_scalar(c, report, "router.balancing_loss", choice.balancing_loss);
  compare_scalar(c, report, "scalar.balancing_loss", choice.balancing_loss);
  const auto compare = [&](const std::string& name, Kind kind, const std::vector<float>& got) {
    if (!c.io.has(name)) return;
    const RecordedTensor& recorded = c.io.at(name);
    report.compare("train", name, kind, got,
                   recorded.ids.empty() ? recorded.values
                                        : std::vector<float>(recorded.ids.begin(), recorded.ids.end()));
  };
  const std::span<const float> logits = values_of(choice.logits);
  compare("router.balancing_ratio", Kind::kLosses, {choice.load.begin(), choice.load.end()});
  compare("router.logits", Kind::kLogits, {logits.begin(), logits.end()});
  const std::span<const float> weights = values_of(choice.weights);
  std::vector<float> deciding(weights.begin(), weights.end());
  for (size_t i = 0; i < deciding.size() && !biases.empty(); ++i) deciding[i] += biases[i % biases.size()];
  compare("router.scores_for_argmax", Kind::kLogits, deciding);
  compare("router.depth_index", Kind::kSelections, {choice.chosen.begin(), choice.chosen.end()});
}

void compare_router(ModelCase& c, Report& report, const std::vector<CaseSequence>& sequences,
                    const train::Batch& batch, const train::ForwardResult& result,
                    const std::vector<float>& biases) {
  const auto place = [&](int32_t row) {
    for (size_t s = 0; s < batch.sequences.size(); ++s) {
      if (row < batch.sequences[s].end) {
        return static_cast<float>(sequences[s].places[static_cast<size_t>(row - batch.sequences[s].begin)]);
      }
    }
    return -1.0F;
  };
  if (result.choice) {
    compare_choice(c, report, *result.choice, biases);
    return;
  }
  double accuracy = 0, overlap = 0;
  for (size_t r = 0; r < result.passes.size(); ++r) {
    const train::RoutedPass& pass = result.passes[r];
    const std::string name = "router." + std::to_string(r);
    accuracy += pass.accuracy / static_cast<double>(result.passes.size());
    compare_scalar(c, report, name + ".sampling_loss", pass.bce);
    compare_scalar(c, report, name + ".sampling_acc", pass.accuracy);
    compare_scalar(c, report, name + ".sampling_topk_acc", pass.overlap);
    compare_scalar(c, report, name + ".router_z_loss", pass.z_loss);
    overlap += pass.overlap / static_cast<double>(result.passes.size());
    std::vector<float> kept, candidates, weights;
    const std::span<const float> all = values_of(pass.weights);
    for (size_t i = 0; i < pass.candidates.size(); ++i) {
      candidates.push_back(place(pass.candidates[i]));
      if (kept.size() == pass.kept.size() || pass.kept[kept.size()] != pass.candidates[i]) continue;
      kept.push_back(candidates.back());
      weights.push_back(all[i]);
    }
    const auto compare_places = [&](const std::string& tensor, const std::vector<float>& got) {
      if (!c.io.has(tensor)) return;
      const std::vector<int64_t>& ids = c.io.at(tensor).ids;
      report.compare("train", tensor, Kind::kSelections, got, std::vector<float>(ids.begin(), ids.end()));
    };
    compare_places(name + ".candidates", candidates);
    compare_places(name + ".selected", kept);
    if (c.io.has(name + ".weights"))
      report.compare("train", name + ".weights", Kind::kLogits, weights, c.io.at(name + ".weights").values);
    if (c.io.has(name + ".logits")) {
      report.compare("train", name + ".logits", Kind::kLogits, values_of(pass.logits),
                     c.io.at(name + ".logits").values);
    }
    if (pass.aux_logits.defined() && c.io.has(name + ".aux_logits")) {
      report.compare("train", name + ".aux_logits", Kind::kLogits, values_of(pass.aux_logits),
                     c.io.at(name + ".aux_logits").values);
    }
  }
  if (result.passes.empty()) return;
  compare_scalar(c, report, "scalar.sampling_acc", accuracy);
  compare_scalar(c, report, "scalar.sampling_topk_acc", overlap);
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

  train::Batch batch;
  for (const CaseSequence& sequence : sequences) {
    batch.add(sequence.tokens, sequence.labels, static_cast<int32_t>(sequence.first_position));
    batch.key_rows.push_back(sequence.key_rows);
    // Places are the published positions, which count padding.
    if (c.family == Family::kRecursions) {
      for (size_t t = 0; t < sequence.places.size(); ++t) {
        batch.positions[static_cast<size_t>(batch.sequences.back().begin) + t] =
            static_cast<int32_t>(sequence.places[t]);
      }
    }
  }
  train::ForwardOptions options;
  options.precision = train::Precision::kF32DoubleSums;
  options.loss_scale = 1.0 / items_in_batch(c, sequences);
  options.want_logits = true;
  options.accumulation = router_divisor(c, sequences);
  train::set_warmups(c.plan, /*call=*/1, options);
  const std::vector<float> biases = biases_of(c.plan, parameters);
  train::LoadBalancer(c.plan, parameters).begin_call(options);
  for (const CaseSequence& sequence : sequences) {
    // [depth, rows of all sequences]
    const std::vector<float> draws = router_draws(c, sequence);
    const size_t length = sequence.tokens.size();
    const auto rows = static_cast<size_t>(batch.rows());
    const auto first = static_cast<size_t>(batch.sequences[static_cast<size_t>(sequence.batch)].begin);
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
  compare_router(c, report, sequences, batch, result, biases);
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
