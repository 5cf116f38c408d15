#include "cli/verify/optimizer_case.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/json.h"
#include "base/worse_of.h"
#include "cli/verify/training_case.h"
#include "plan/scaling_study.h"
#include "train/executor.h"
#include "train/optimizer.h"
#include "weights/checkpoint.h"

namespace fathom::cli::verify {

namespace {

using nlohmann::json;

// The family's README: parameters 3e-4, losses 1e-3, both absolute; or ten times what float cost the
// recording, where that is more.
Limits limits_of(Limits limits, const json& record) {
  limits.parameters = 3e-4;
  limits.losses = 1e-3;
  const auto cost = record.find("max_abs_parameter_difference_fp32_vs_fp64");
  if (cost != record.end() && cost->is_number())
    limits.parameters = std::max(limits.parameters, 10 * cost->get<double>());
  return limits;
}

struct Step {
  std::vector<float> losses;  // of micro-batches
  std::vector<double> rates;  // the same
  json group_rates;           // those of the step, by group; null where they are not recorded
  double norm = 0;            // of all gradients, before clipping
  double norm_in_float = 0;   // how far float was off, of that; 0 where it is not recorded
};

struct Recording {
  int64_t micro_batches = 1;     // of a step
  int64_t end_of_document = -1;  // rows are cut behind it; -1: they are not
  train::OptimizerConfig optimizer;
  train::Schedule schedule;  // in micro-batches
  double label_smoothing = 0;
  std::vector<Step> steps;
  std::vector<double> multipliers = {1};                  // of the rates of groups
  std::map<std::string, std::pair<float, float>> groups;  // weight decay and rate multiplier by weight name
};

Result<Recording> read_recording(const ModelCase& c) {
  FATHOM_ASSIGN(const json config, read_json_file(c.path + "/config.json"));
  Recording recording;
  try {
    const json& settings = config.at("optimizer");
    train::OptimizerConfig& optimizer = recording.optimizer;
    optimizer.beta1 = settings.at("betas").at(0);
    optimizer.beta2 = settings.at("betas").at(1);
    optimizer.eps = settings.at("eps");
    optimizer.weight_decay = settings.at("weight_decay");
    optimizer.decay = train::DecayRule::kParametrisation;
    optimizer.clip = settings.at("grad_clip");
    // What else it may say is an option of the training code that these steps would not follow.
    for (const auto& [key, value] : settings.items()) {
      constexpr std::string_view kKnown[] = {
          "type",         "betas",          "eps",    "lr",        "weight_decay",
          "warmup_iters", "max_iters",      "min_lr", "grad_clip", "gradient_accumulation",
          "groups",       "label_smoothing"};
      if (std::ranges::find(kKnown, key) == std::end(kKnown) || (key == "type" && value != "AdamW"))
        return not_supported("not supported yet: optimizer." + key + " = " + value.dump());
    }
    if (config.value("use_cu_seqlen", false))
      recording.end_of_document = config.value("eos_token_id", int64_t{-1});
    recording.label_smoothing = settings.value("label_smoothing", config.value("label_smoothing", 0.0));
    train::Schedule& schedule = recording.schedule;
    schedule.kind = train::ScheduleKind::kLinear;
    schedule.peak = settings.at("lr");
    schedule.warmup_steps = settings.at("warmup_iters");
    schedule.total_steps = settings.at("max_iters");
    schedule.final_ratio = settings.at("min_lr").get<double>() / schedule.peak;
    recording.micro_batches = settings.at("gradient_accumulation");
    for (const json& entry : c.record.at("log_fp32")) {
      recording.steps.push_back({entry.at("micro_losses"), entry.at("micro_lrs"),
                                 entry.value("group_lrs", json()), entry.at("grad_norm_before_clip")});
    }
    const json in_double = c.record.value("log_fp64", json::array());
    for (size_t s = 0; s < std::min(in_double.size(), recording.steps.size()); ++s) {
      const double exact = in_double[s].at("grad_norm_before_clip");
      if (exact > 0) recording.steps[s].norm_in_float = std::fabs(recording.steps[s].norm - exact) / exact;
    }
    // Groups stand in the order vector, matrix; or there is one with everything.
    const json& groups = settings.at("groups");
    if (groups.is_array()) {
      recording.multipliers.clear();
      for (const json& group : groups) recording.multipliers.push_back(group.at("lr_mult"));
    }
    for (const auto& [name, group] : c.record.at("parameter_groups").items()) {
      std::pair<float, float>& entry = recording.groups[name];
      entry = {static_cast<float>(optimizer.weight_decay), 1.0F};
      if (!groups.is_array()) continue;
      const json& its = groups.at(group == "matrix" ? 1 : 0);
      entry = {its.at("weight_decay").get<float>(), its.at("lr_mult").get<float>()};
    }
  } catch (const json::exception& error) {
    return invalid(c.path + ": " + error.what());
  }
  if (recording.micro_batches < 1 || recording.steps.empty())
    return invalid(c.path + ": steps and micro-batches must be positive");
  return recording;
}

// The name table tells the recorded groups from parameters filled with a number of their own group.
void compare_groups(const ModelCase& c, const Recording& recording, Report& report) {
  const auto compare = [&](const char* what, const auto& number_of, const auto& recorded) {
    std::vector<std::vector<float>> numbers;
    for (const Param& param : c.plan.params) {
      numbers.emplace_back(static_cast<size_t>(elements_of(param)), static_cast<float>(number_of(param)));
    }
    std::vector<std::vector<uint8_t>> storage;
    std::vector<float> got, expected;
    for (const TensorView& view : checkpoint_views(
             c.plan, c.scheme, DType::kF32,
             [&](int32_t param) -> std::span<const float> { return numbers[static_cast<size_t>(param)]; },
             storage)) {
      const auto group = recording.groups.find(view.spec.name);
      const std::span values(reinterpret_cast<const float*>(view.bytes.data()),
                             view.bytes.size() / sizeof(float));
      for (float value : {values.front(), values.back()}) got.push_back(value);
      if (group == recording.groups.end()) continue;
      expected.insert(expected.end(), 2, recorded(group->second));
    }
    report.compare("train", what, Kind::kSelections, got, expected);
  };
  const train::OptimizerConfig& o = recording.optimizer;
  compare(
      "weight decay of every parameter",
      [&](const Param& param) { return train::decays(o.decay, c.plan.spec, param) ? o.weight_decay : 0.0; },
      [](const auto& group) { return group.first; });
  compare(
      "learning rate of every parameter",
      [&](const Param& param) { return rate_multiplier(c.plan.spec, param); },
      [](const auto& group) { return group.second; });
}

// Micro-batch `index` of [micro-batches, rows, length]; rows are cut behind each `end_of_document`.
Result<train::Batch> batch_of(ModelCase& c, int64_t index, int64_t end_of_document) {
  FATHOM_ASSIGN(const RecordedTensor* ids, c.io.require("input_ids"));
  FATHOM_ASSIGN(const RecordedTensor* labels, c.io.require("labels"));
  if (ids->shape.size() != 3 || labels->shape != ids->shape || index >= ids->extent(0) || ids->ids.empty() ||
      labels->ids.empty())
    return invalid(c.path + ": input_ids and labels are not int64 [micro-batches, rows, length]");
  const int64_t rows = ids->extent(1), length = ids->extent(2);
  train::Batch batch;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t first = (index * rows + row) * length;
    const auto part = [&](const RecordedTensor& tensor) {
      return std::vector<int32_t>(tensor.ids.begin() + first, tensor.ids.begin() + first + length);
    };
    const std::vector<int32_t> tokens = part(*ids);
    std::vector<int32_t> row_labels = part(*labels);
    for (int32_t& label : row_labels) {
      if (label < 0) label = -100;  // -1, too, is ignored in validation
    }
    for (int32_t id : tokens) {
      if (id < 0 || id >= c.plan.dims.vocab_size) return invalid(c.path + ": token id " + std::to_string(id));
    }
    const auto recorded =
        std::span(ids->ids).subspan(static_cast<size_t>(first), static_cast<size_t>(length));
    for (const auto& [begin, end] : documents_of(recorded, end_of_document)) {
      batch.add({tokens.begin() + begin, tokens.begin() + end},
                {row_labels.begin() + begin, row_labels.begin() + end}, static_cast<int32_t>(begin));
    }
  }
  return batch;
}

}  // namespace

Status verify_optimizer_steps(ModelCase& c, Report& report) {
  report = Report(c.name, limits_of(c.limits, c.record));
  FATHOM_ASSIGN(const Recording recording, read_recording(c));
  compare_groups(c, recording, report);
  train::Parameters parameters(c.plan);
  FATHOM_TRY(train::load_parameters(c.plan, c.scheme, *c.weights, parameters));
  train::Executor executor(c.plan, parameters);
  train::Optimizer optimizer(c.plan, recording.optimizer, parameters);
  const auto micro_batches = static_cast<double>(recording.micro_batches);
  int64_t iteration = 0;
  for (size_t s = 0; s < recording.steps.size(); ++s) {
    const Step& recorded = recording.steps[s];
    const std::string name = "step " + std::to_string(s);
    std::vector<float> losses;
    double rate = 0,
           off = recorded.rates.size() == static_cast<size_t>(recording.micro_batches) ? 0 : INFINITY;
    parameters.clear_gradients();
    for (int64_t m = 0; m < recording.micro_batches; ++m, ++iteration) {
      FATHOM_ASSIGN(const train::Batch batch, batch_of(c, iteration, recording.end_of_document));
      int64_t predicted = 0;
      for (int32_t label : batch.labels) predicted += label >= 0 ? 1 : 0;
      train::ForwardOptions options;
      options.precision = train::Precision::kF32DoubleSums;
      options.loss_scale = 1.0 / (static_cast<double>(predicted) * micro_batches);
      options.label_smoothing = recording.label_smoothing;
      const train::ForwardResult result = executor.forward(batch, options);
      result.loss.backward();
      losses.push_back(static_cast<float>(result.loss_lm * micro_batches));
      rate = recording.schedule.at(static_cast<double>(iteration));
      if (std::isfinite(off))
        off = worse_of(off,
                       std::fabs((rate - recorded.rates[static_cast<size_t>(m)]) / recording.schedule.peak));
    }
    report.compare("train", "losses of " + name, Kind::kLosses, losses, recorded.losses);
    report.add({"schedule", "learning rates of " + name, Measure::kOfLargest, off, 1e-12});
    if (!recorded.group_rates.is_null()) {
      off = recorded.group_rates.size() == recording.multipliers.size() ? 0 : INFINITY;
      for (size_t g = 0; std::isfinite(off) && g < recording.multipliers.size(); ++g)
        off = worse_of(
            off, std::fabs((rate * recording.multipliers[g] - recorded.group_rates.at(g).get<double>()) /
                           recording.schedule.peak));
      report.add({"schedule", "learning rates of groups of " + name, Measure::kOfLargest, off, 1e-12});
    }
    const train::GradientNorms norms = optimizer.gradient_norms();
    const double limit =
        std::max(c.limits.gradients, std::min(10 * recorded.norm_in_float, 10 * c.limits.gradients));
    report.add({"train", "gradient norm of " + name, Measure::kOfLargest,
                std::fabs(norms.model - recorded.norm) / (recorded.norm != 0 ? recorded.norm : 1), limit});
    optimizer.update(static_cast<int64_t>(s) + 1, rate, norms);
    compare_parameters(c, "after_step" + std::to_string(s), parameters, report);
  }
  compare_parameters(c, "final", parameters, report);
  for (const std::string& tensor : c.io.unseen())
    return invalid(c.path + "/io.safetensors: unknown tensor " + tensor);
  return {};
}

}  // namespace fathom::cli::verify
