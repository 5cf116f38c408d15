#include "cli/verify/training_case.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/json.h"
#include "cli/verify/case_batch.h"
#include "cli/verify/recorded_routers.h"
#include "cli/verify/train_half.h"
#include "train/executor.h"
#include "train/optimizer.h"
#include "train/router_schedule.h"
#include "weights/checkpoint.h"

namespace fathom::cli::verify {

namespace {

using nlohmann::json;

// The parts of case.json that say how the steps were made.
struct Recipe {
  int64_t steps = 0, accumulation = 0, rows = 0;
  train::OptimizerConfig optimizer;
  std::map<std::string, double> decay;           // by weight name
  std::vector<double> learning_rates;            // [steps]
  std::vector<float> gradient_norms, aux_norms;  // [steps]; the second of an auxiliary router
  std::vector<json> micro_batches;               // [steps * accumulation]
  std::vector<double> items, losses;  // [steps * accumulation] what a loss was divided by; the quotient
};

// A key that is missing or of another type throws in the JSON library; here it becomes an error like any
// other.
Result<Recipe> read_recipe(const ModelCase& c) {
  const auto wrong = [&](const std::string& what) { return invalid(c.path + "/case.json: " + what); };
  Recipe recipe;
  try {
    const json& record = c.record;
    recipe.steps = record.at("steps").get<int64_t>();
    recipe.accumulation = record.at("micro_batches_per_step").get<int64_t>();
    recipe.rows = record.at("rows_per_micro_batch").get<int64_t>();
    recipe.micro_batches = record.at("micro_batches").get<std::vector<json>>();
    for (const json& micro_batch : recipe.micro_batches) {
      recipe.items.push_back(micro_batch.at("num_items_in_batch").get<double>());
      recipe.losses.push_back(micro_batch.at("returned_loss").get<double>());
    }
    const json& groups = record.at("parameter_groups");
    recipe.optimizer.beta1 = groups.at(0).at("betas").at(0).get<double>();
    recipe.optimizer.beta2 = groups.at(0).at("betas").at(1).get<double>();
    recipe.optimizer.eps = groups.at(0).at("eps").get<double>();
    recipe.optimizer.weight_decay = 0;
    double least_decay = INFINITY;
    recipe.optimizer.clip = record.at("max_grad_norm").get<double>();
    for (const json& group : groups) {
      const auto decay = group.at("weight_decay").get<double>();
      recipe.optimizer.weight_decay = std::max(recipe.optimizer.weight_decay, decay);
      least_decay = std::min(least_decay, decay);
      for (const json& name : group.at("names")) recipe.decay[name.get<std::string>()] = decay;
      if (group.at("betas") != groups.at(0).at("betas") || group.at("eps") != groups.at(0).at("eps"))
        return not_supported("not supported yet: parameter groups with their own betas or eps");
    }
    // One group with everything (6.2), norms too.
    if (least_decay == recipe.optimizer.weight_decay) recipe.optimizer.decay = train::DecayRule::kAll;
    for (const json& rates : record.at("learning_rate_per_step_and_group")) {
      for (size_t g = 0; g < rates.size(); ++g) {
        const auto group = groups.at(g).contains("optimizer") ? train::ParameterGroup::kAuxRouter
                                                              : train::ParameterGroup::kModel;
        // Recorded rates are products in double: equal up to their last bits.
        const double expected = rates.at(0).get<double>() * train::rate_of(group);
        if (std::abs(rates.at(g).get<double>() - expected) > 1e-12)
          return wrong("the learning rate of group " + std::to_string(g) + " is not " +
                       std::to_string(expected));
      }
      recipe.learning_rates.push_back(rates.at(0).get<double>());
    }
    // MoR records two norms a step: all parameters but a separately trained router's, then that router's.
    const json& norms = record.at("gradient_norms_before_clip");
    const size_t stride = recipe.steps > 0 ? norms.size() / static_cast<size_t>(recipe.steps) : 0;
    for (size_t i = 0; stride > 0 && i < norms.size(); i += stride) {
      recipe.gradient_norms.push_back(norms.at(i).get<float>());
      recipe.aux_norms.push_back(stride == 2 ? norms.at(i + 1).get<float>() : 0.0F);
    }
  } catch (const json::exception& error) {
    return wrong(error.what());
  }
  if (recipe.steps < 1 || recipe.accumulation < 1 || recipe.rows < 1)
    return wrong("steps and rows must be positive");
  if (static_cast<int64_t>(recipe.learning_rates.size()) != recipe.steps ||
      static_cast<int64_t>(recipe.gradient_norms.size()) != recipe.steps ||
      static_cast<int64_t>(recipe.micro_batches.size()) != recipe.steps * recipe.accumulation) {
    return wrong("learning rates, gradient norms and micro-batches do not fit the number of steps");
  }
  return recipe;
}

void compare_losses(const json& recorded, const std::string& name, const train::ForwardResult& result,
                    Report& report) {
  const auto compare = [&](const char* key, double got) {
    if (recorded.contains(key) && recorded[key].is_number())
      report.compare("train", name + " " + key, Kind::kLosses, got, recorded[key].get<double>());
  };
  compare("loss_lm", result.loss_lm);
  compare("loss_total", result.loss_total);
  compare("sampling_loss", result.sampling_loss);
  compare("router_z_loss", result.z_loss);
  if (result.choice) {
    compare("balancing_loss", result.choice->balancing_loss);
    if (recorded.contains("balancing_ratio") && recorded["balancing_ratio"].is_array()) {
      report.compare("train", name + " balancing_ratio", Kind::kLosses, result.choice->load,
                     recorded["balancing_ratio"].get<std::vector<float>>());
    }
    return;
  }
  double accuracy = 0, overlap = 0;
  for (const train::RoutedPass& pass : result.passes) {
    accuracy += pass.accuracy / static_cast<double>(result.passes.size());
    overlap += pass.overlap / static_cast<double>(result.passes.size());
  }
  compare("sampling_acc", accuracy);
  compare("sampling_topk_acc", overlap);
}

// The recorded groups name the parameters that decay. The name table tells them from parameters filled with
// their own decay.
Status compare_decay(ModelCase& c, const Recipe& recipe, Report& report) {
  std::vector<std::vector<float>> decays;
  for (const Param& param : c.plan.params) {
    const double decay =
        train::decays(recipe.optimizer.decay, c.plan.spec, param) ? recipe.optimizer.weight_decay : 0.0;
    decays.emplace_back(static_cast<size_t>(elements_of(param)), static_cast<float>(decay));
  }
  std::vector<std::vector<uint8_t>> storage;
  const std::vector<TensorView> views = checkpoint_views(
      c.plan, c.scheme, DType::kF32,
      [&](int32_t param) -> std::span<const float> { return decays[static_cast<size_t>(param)]; }, storage);
  std::vector<float> got, expected;
  for (const TensorView& view : views) {
    const auto found = recipe.decay.find(view.spec.name);
    if (found == recipe.decay.end()) continue;
    got.push_back(*reinterpret_cast<const float*>(view.bytes.data()));
    expected.push_back(static_cast<float>(found->second));
  }
  if (got.size() != recipe.decay.size())
    return invalid(c.path + "/case.json: a parameter group names a parameter that the model has not");
  report.compare("train", "weight decay of every parameter", Kind::kSelections, got, expected);
  return {};
}

void compare_bias(ModelCase& c, const std::string& name, const train::Parameters& parameters,
                  Report& report) {
  for (const Segment& segment : c.plan.segments) {
    if (segment.router && segment.router->bias.present() && c.io.has(name))
      report.compare("train", name, Kind::kParameters, parameters.values(segment.router->bias.at(0)),
                     c.io.at(name).values);
  }
}

// Tensors of evaluation are the engine's.
Status all_seen(const ModelCase& c) {
  for (const std::string& tensor : c.io.unseen()) {
    if (!tensor.starts_with("eval.") && !tensor.starts_with("scalar.eval."))
      return invalid(c.path + "/io.safetensors: unknown tensor " + tensor);
  }
  return {};
}

// How many tokens of each of `rows` sequences the passes kept.
void compare_kept(const json& recorded, const std::string& name, size_t rows,
                  const train::ForwardResult& result, Report& report) {
  if (!recorded.contains("k") || !recorded["k"].is_array()) return;
  std::vector<float> kept;
  for (const train::RoutedPass& pass : result.passes)
    kept.push_back(static_cast<float>(pass.kept.size()) / static_cast<float>(rows));
  report.compare("train", name + " k", Kind::kSelections, kept, recorded["k"].get<std::vector<float>>());
}

}  // namespace

void compare_parameters(ModelCase& c, const std::string& prefix, const train::Parameters& parameters,
                        Report& report) {
  std::vector<std::vector<uint8_t>> storage;
  const std::vector<TensorView> views = checkpoint_views(
      c.plan, c.scheme, DType::kF32, [&](int32_t param) { return parameters.values(param); }, storage);
  for (const TensorView& view : views) {
    const std::string name = prefix + "." + view.spec.name;
    if (!c.io.has(name)) continue;
    const std::span got(reinterpret_cast<const float*>(view.bytes.data()), view.bytes.size() / sizeof(float));
    report.compare("train", name, Kind::kParameters, got, c.io.at(name).values);
  }
}

Status verify_training_steps(ModelCase& c, Report& report) {
  FATHOM_ASSIGN(const Recipe recipe, read_recipe(c));
  FATHOM_ASSIGN(const std::vector<CaseSequence> sequences, sequences_of(c));
  if (static_cast<int64_t>(sequences.size()) != recipe.steps * recipe.accumulation * recipe.rows)
    return invalid(c.path + ": input_ids has " + std::to_string(sequences.size()) + " rows, expected " +
                   std::to_string(recipe.steps * recipe.accumulation * recipe.rows));
  compare_record(c, report);
  FATHOM_TRY(compare_decay(c, recipe, report));

  train::Parameters parameters(c.plan);
  FATHOM_TRY(train::load_parameters(c.plan, c.scheme, *c.weights, parameters));
  train::Executor executor(c.plan, parameters);
  train::Optimizer optimizer(c.plan, recipe.optimizer, parameters);
  train::LoadBalancer balancer(c.plan, parameters);
  int64_t micro = 0;
  for (int64_t step = 0; step < recipe.steps; ++step) {
    parameters.clear_gradients();
    for (int64_t a = 0; a < recipe.accumulation; ++a, ++micro) {
      const json& recorded = recipe.micro_batches[static_cast<size_t>(micro)];
      const std::span rows = std::span(sequences).subspan(static_cast<size_t>(micro * recipe.rows),
                                                          static_cast<size_t>(recipe.rows));
      const train::Batch batch = batch_of(c, rows);
      train::ForwardOptions options;
      options.precision = train::Precision::kF32DoubleSums;
      options.loss_scale = 1.0 / recipe.items[static_cast<size_t>(micro)];
      options.accumulation = recipe.items[static_cast<size_t>(micro)] / static_cast<double>(batch.rows());
      train::set_warmups(c.plan, micro + 1, options);
      const std::vector<float> biases = router_biases(c.plan, parameters);
      balancer.begin_call(options);
      const train::ForwardResult result = executor.forward(batch, options);
      result.loss.backward();
      balancer.note(result);
      const std::string name = "micro" + std::to_string(micro);
      report.compare("train", name + " returned_loss", Kind::kLosses, result.loss_lm,
                     recipe.losses[static_cast<size_t>(micro)]);
      compare_losses(recorded, name, result, report);
      compare_routers(c, report, name + ".", rows, batch, result, biases);
    }
    const train::GradientNorms norms = optimizer.gradient_norms();
    const auto compare_norm = [&](const std::string& what, double norm, const std::vector<float>& recorded) {
      const auto shown = static_cast<float>(norm);
      report.compare("train", what + " of step " + std::to_string(step), Kind::kGradients, {&shown, 1},
                     std::span(recorded).subspan(static_cast<size_t>(step), 1));
    };
    compare_norm("gradient norm", norms.model, recipe.gradient_norms);
    if (recipe.aux_norms[static_cast<size_t>(step)] != 0)
      compare_norm("gradient norm of the auxiliary router", norms.aux_router, recipe.aux_norms);
    optimizer.update(step + 1, recipe.learning_rates[static_cast<size_t>(step)], norms);
    balancer.update();
    compare_parameters(c, "step" + std::to_string(step + 1), parameters, report);
  }
  compare_parameters(c, "final", parameters, report);
  return all_seen(c);
}

Status verify_warmup_calls(ModelCase& c, Report& report) {
  FATHOM_ASSIGN(const std::vector<CaseSequence> sequences, sequences_of(c));
  const train::Batch batch = batch_of(c, sequences);
  train::Parameters parameters(c.plan);
  FATHOM_TRY(train::load_parameters(c.plan, c.scheme, *c.weights, parameters));
  train::Executor executor(c.plan, parameters);
  train::LoadBalancer balancer(c.plan, parameters);
  for (const json& recorded : c.record["calls"]) {
    if (!recorded.contains("call") || !recorded["call"].is_number_integer())
      continue;  // "eval": the engine's
    const auto call = recorded["call"].get<int64_t>();
    const std::string name = "call" + std::to_string(call);
    train::ForwardOptions options;
    options.precision = train::Precision::kF32DoubleSums;
    options.loss_scale = 1.0 / items_in_batch(c, sequences);
    options.want_logits = true;
    options.accumulation = router_divisor(c, sequences);
    train::set_warmups(c.plan, call, options);
    const std::vector<float> biases = router_biases(c.plan, parameters);
    balancer.begin_call(options);
    const train::ForwardResult result = executor.forward(batch, options);
    compare_bias(c, name + ".router_bias_after", parameters, report);
    compare_losses(recorded, name, result, report);
    compare_kept(recorded, name, sequences.size(), result, report);
    if (recorded.contains("forced_deepest") && recorded["forced_deepest"].is_boolean()) {
      report.compare("train", name + " forced_deepest", Kind::kSelections, options.force_deepest ? 1 : 0,
                     recorded["forced_deepest"].get<bool>() ? 1 : 0);
    }
    compare_routers(c, report, name + ".", sequences, batch, result, biases);
    if (!c.io.has(name + ".logits")) continue;
    RowComparison logits;
    for (size_t s = 0; s < sequences.size(); ++s) {
      logits.add(sequences[s],
                 result.logits.const_data_ptr<float>() + batch.sequences[s].begin * c.plan.dims.vocab_size,
                 static_cast<int64_t>(sequences[s].tokens.size()), c.plan.dims.vocab_size,
                 c.io.at(name + ".logits"));
    }
    logits.report(report, "train", name + ".logits", Kind::kLogits);
  }
  // The first call may be recorded as other cases are, with its gradients.
  const std::vector<std::string> left = c.io.unseen();
  const bool as_others = std::ranges::any_of(
      left, [](const std::string& tensor) { return tensor == "logits" || tensor.starts_with("grad."); });
  return as_others ? verify_in_trainer(c, report) : all_seen(c);
}

}  // namespace fathom::cli::verify
