#include "cli/verify/training_case.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/json.h"
#include "train/executor.h"
#include "train/optimizer.h"
#include "train/router_schedule.h"
#include "weights/checkpoint.h"

namespace fathom::cli::verify {

namespace {

using nlohmann::json;

constexpr int32_t kIgnored = -100;

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
    recipe.optimizer.clip = record.at("max_grad_norm").get<double>();
    for (const json& group : groups) {
      const auto decay = group.at("weight_decay").get<double>();
      recipe.optimizer.weight_decay = std::max(recipe.optimizer.weight_decay, decay);
      for (const json& name : group.at("names")) recipe.decay[name.get<std::string>()] = decay;
      if (group.at("betas") != groups.at(0).at("betas") || group.at("eps") != groups.at(0).at("eps"))
        return not_supported("not supported yet: parameter groups with their own betas or eps");
    }
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

// All tokens of a row are labels; the last row of a case is as long as the others.
train::Batch batch_of(const std::vector<CaseSequence>& sequences, int64_t first, int64_t count) {
  train::Batch batch;
  for (int64_t row = first; row < first + count; ++row) {
    const std::vector<int32_t>& tokens = sequences[static_cast<size_t>(row)].tokens;
    std::vector<int32_t> labels(tokens.begin() + 1, tokens.end());
    labels.push_back(kIgnored);
    batch.add(tokens, labels);
  }
  return batch;
}

void compare_selections(ModelCase& c, const std::string& prefix, const train::Batch& batch,
                        const train::ForwardResult& result, Report& report) {
  if (result.choice) {
    for (const std::string& name : {prefix + ".router.depth_index", prefix + ".depth_index"}) {
      if (!c.io.has(name)) continue;
      const std::vector<int64_t>& ids = c.io.at(name).ids;
      report.compare("train", name, Kind::kSelections,
                     std::vector<float>(result.choice->chosen.begin(), result.choice->chosen.end()),
                     std::vector<float>(ids.begin(), ids.end()));
    }
    return;
  }
  for (size_t r = 0; r < result.passes.size(); ++r) {
    const train::RoutedPass& pass = result.passes[r];
    const std::string name = prefix + ".router." + std::to_string(r);
    const std::span<const float> all(pass.weights.const_data_ptr<float>(),
                                     static_cast<size_t>(pass.weights.numel()));
    std::vector<float> places, weights;
    size_t next = 0;
    for (size_t i = 0; i < pass.candidates.size() && next < pass.kept.size(); ++i) {
      const int32_t row = pass.kept[next];
      if (pass.candidates[i] != row) continue;
      const auto sequence =
          std::ranges::find_if(batch.sequences, [&](const auto& rows) { return row < rows.end; });
      places.push_back(static_cast<float>(row - sequence->begin));
      weights.push_back(all[i]);
      ++next;
    }
    if (c.io.has(name + ".selected")) {
      const std::vector<int64_t>& ids = c.io.at(name + ".selected").ids;
      report.compare("train", name + ".selected", Kind::kSelections, places,
                     std::vector<float>(ids.begin(), ids.end()));
    }
    if (c.io.has(name + ".weights"))
      report.compare("train", name + ".weights", Kind::kLogits, weights, c.io.at(name + ".weights").values);
  }
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
      report.compare("train", name + " balancing_ratio", Kind::kLosses,
                     std::vector<float>(result.choice->load.begin(), result.choice->load.end()),
                     recorded["balancing_ratio"].get<std::vector<float>>());
    }
    return;
  }
  double accuracy = 0;
  for (const train::RoutedPass& pass : result.passes)
    accuracy += pass.accuracy / static_cast<double>(result.passes.size());
  compare("sampling_acc", accuracy);
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

Status all_seen(const ModelCase& c, const std::string& prefix) {
  for (const std::string& tensor : c.io.unseen()) {
    if (tensor.starts_with(prefix)) return invalid(c.path + "/io.safetensors: unknown tensor " + tensor);
  }
  return {};
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
      const train::Batch batch = batch_of(sequences, micro * recipe.rows, recipe.rows);
      train::ForwardOptions options;
      options.precision = train::Precision::kF32DoubleSums;
      options.loss_scale = 1.0 / recipe.items[static_cast<size_t>(micro)];
      options.accumulation = recipe.items[static_cast<size_t>(micro)] / static_cast<double>(batch.rows());
      train::set_warmups(c.plan, micro + 1, options);
      balancer.begin_call(options);
      const train::ForwardResult result = executor.forward(batch, options);
      result.loss.backward();
      balancer.note(result);
      const std::string name = "micro" + std::to_string(micro);
      report.compare("train", name + " returned_loss", Kind::kLosses, result.loss_lm,
                     recipe.losses[static_cast<size_t>(micro)]);
      compare_losses(recorded, name, result, report);
      compare_selections(c, name, batch, result, report);
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
  return all_seen(c, "");
}

Status verify_warmup_calls(ModelCase& c, Report& report) {
  FATHOM_ASSIGN(const std::vector<CaseSequence> sequences, sequences_of(c));
  train::Batch batch;
  for (const CaseSequence& sequence : sequences) batch.add(sequence.tokens, sequence.labels);
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
    balancer.begin_call(options);
    const train::ForwardResult result = executor.forward(batch, options);
    compare_bias(c, name + ".router_bias_after", parameters, report);
    compare_losses(recorded, name, result, report);
    compare_selections(c, name, batch, result, report);
    FATHOM_ASSIGN(const RecordedTensor* logits, c.io.require(name + ".logits"));
    const std::span got(result.logits.const_data_ptr<float>(), static_cast<size_t>(result.logits.numel()));
    report.compare("train", name + ".logits", Kind::kLogits, got, logits->values);
  }
  return all_seen(c, "call");
}

}  // namespace fathom::cli::verify
