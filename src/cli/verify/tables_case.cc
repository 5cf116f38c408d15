// Tables of numbers: each against the function of the plan, of the schedule or of routing that says it.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "base/json.h"
#include "cli/verify/case_kinds.h"
#include "cli/verify/evaluation_tables.h"
#include "cli/verify/study_tables.h"
#include "cli/verify/table_models.h"
#include "kernels/router/router.h"
#include "plan/capacity.h"
#include "plan/count.h"
#include "plan/naming.h"
#include "train/schedule.h"

namespace fathom::cli::verify {

namespace {

using nlohmann::json;

Status compare_counts(const json& row, Tally& tally) {
  FATHOM_ASSIGN(const ModelSpec base, spec_of_shape(row.at("shape"), row.at("num_hidden_layers")));
  FATHOM_ASSIGN(const ModelSpec spec, spec_of_words(row.at("model"), base));
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
  const ParameterCount count = count_parameters(plan);
  size_t names = 0;
  for (const FileTensor& tensor : checkpoint_tensors(plan, naming_of(plan)))
    names += 1 + tensor.aliases.size();
  const auto number = [&](const char* key) { return row.at(key).get<int64_t>(); };
  tally.expect(count.unique, number("total"));
  tally.expect(static_cast<int64_t>(plan.params.size()), number("distinct_tensors"));
  tally.expect(static_cast<int64_t>(names), number("names_in_state_dict"));
  tally.expect(count.embedding, number("embedding"));
  tally.expect(count.head == 0, row.at("lm_head_tied").get<bool>());
  tally.expect(count.non_embedding(), number("non_embedding_including_final_norm"));
  tally.expect(count.final_norm, number("final_norm"));
  tally.expect(count.router, number("router"));
  tally.expect(count.unique - count.embedding, number("hf_num_parameters_exclude_embeddings"));
  tally.expect(count.non_embedding() - count.final_norm - count.router,
               number("non_embedding_without_final_norm_and_router"));
  return {};
}

Status compare_parameter_counts(const json& table, Report& report) {
  Tally tally;
  std::set<std::string> missing;
  for (const json& row : table.at("rows")) {
    Status status = compare_counts(row, tally);
    if (!status.ok() && status.error().kind != ErrorKind::kNotSupported) return status;
    if (!status.ok()) missing.insert(row.at("model").get<std::string>());
  }
  std::string what = "parameter_counts.json";
  for (const std::string& model : missing) what += ", without \"" + model + "\", which no plan says yet";
  tally.report(report, "plan", what);
  return {};
}

// The sizes of the tables' tiny models, which their file does not say: its numbers of values do.
ModelSpec tiny_model() {
  ModelSpec spec;
  spec.vocab_size = 16;
  spec.hidden_size = 8;
  spec.intermediate_size = 8;
  spec.num_hidden_layers = 6;
  spec.num_attention_heads = 2;
  spec.num_key_value_heads = 1;
  return spec;
}

// A deviation of 64 drawn numbers lies within four standard errors of the distribution's.
bool plausible(const Init& init, double drawn) {
  const double deviation = init.kind == InitKind::kUniform ? init.a / std::sqrt(3.0) : init.a;
  return std::fabs(drawn / deviation - 1) < 4 / std::sqrt(2.0 * 64);
}

Status compare_ties(const json& row, Tally& names, Tally& starts) {
  const std::string words = row.at("model");
  FATHOM_ASSIGN(const ModelSpec spec, spec_of_words(words, tiny_model()));
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
  std::set<std::string> stored;
  std::map<std::string, std::string> aliases;
  std::map<std::string, const Init*> inits;
  for (const FileTensor& tensor : checkpoint_tensors(plan, naming_of(plan))) {
    stored.insert(tensor.name);
    for (const std::string& alias : tensor.aliases) aliases[alias] = tensor.name;
    inits[tensor.name] = &plan.params[static_cast<size_t>(tensor.pieces.front().param)].init;
  }
  names.expect(stored, row.at("stored_names").get<std::set<std::string>>());
  names.expect(aliases, row.at("aliases").get<std::map<std::string, std::string>>());
  names.expect(count_parameters(plan).unique, row.at("distinct_values").get<int64_t>());
  names.expect(plan.head.first == plan.embedding.first, row.at("lm_head_shares_embedding").get<bool>());
  // That row's attention was tied again after it had been drawn as the untied one's.
  if (words.ends_with("re-tied")) return {};
  for (const auto& [name, deviation] : row.at("initial_std_of_q_proj").items()) {
    const auto init = inits.find(name);
    starts.expect(init != inits.end() && plausible(*init->second, deviation.get<double>()), true);
  }
  return {};
}

Status compare_tie_behaviour(const json& table, Report& report) {
  Tally names, starts;
  for (const json& row : table.at("rows")) FATHOM_TRY(compare_ties(row, names, starts));
  names.report(report, "plan", "tie_behaviour.json: names, aliases, values");
  starts.report(report, "plan", "tie_behaviour.json: deviations at the start are plausible");
  return {};
}

Result<train::Schedule> schedule_of(const json& entry) {
  using train::DecayShape;
  using train::ScheduleKind;
  train::Schedule schedule;
  schedule.peak = entry.at("learning_rate");
  schedule.total_steps = entry.at("num_train_steps");
  schedule.warmup_steps = entry.at("num_warmup_steps");
  const json& more = entry.at("kwargs");
  const std::string type = entry.at("type");
  if (type != "cosine_with_min_lr" && type != "warmup_stable_decay")
    return not_supported("not supported yet: schedule " + type);
  // What the library has beside, with the only value that is ours.
  const json usual = {{"num_cycles", 0.5}, {"min_lr_ratio", 0.0}, {"warmup_type", "linear"}};
  for (const auto& [key, value] : more.items()) {
    if (key == "num_decay_steps" || key == "decay_type" || key == "min_lr_rate" || key == "min_lr") continue;
    if (!usual.contains(key) || usual[key] != value)
      return not_supported("not supported yet: " + key + " = " + value.dump() + " of schedule " + type);
  }
  if (type == "cosine_with_min_lr") {
    schedule.kind = ScheduleKind::kCosine;
    schedule.final_ratio = more.contains("min_lr") ? more["min_lr"].get<double>() / schedule.peak
                                                   : more.at("min_lr_rate").get<double>();
    return schedule;
  }
  schedule.kind = ScheduleKind::kWsd;
  schedule.decay_steps = more.at("num_decay_steps");
  const std::string shape = more.value("decay_type", "linear");
  for (const auto& [word, meaning] :
       {std::pair{"linear", DecayShape::kLinear}, std::pair{"cosine", DecayShape::kCosine},
        std::pair{"1-sqrt", DecayShape::kOneMinusSqrt}}) {
    if (shape == word) schedule.decay_shape = meaning;
  }
  return schedule;
}

// Steps from the last on are not made.
Status compare_schedules(const json& table, Report& report) {
  Distance distance;
  const auto compare = [&](const json& entry) -> Status {
    FATHOM_ASSIGN(const train::Schedule schedule, schedule_of(entry));
    const json& rates = entry.at("lr");
    for (size_t i = 0; i < rates.size(); ++i) {
      const int64_t step =
          entry.contains("steps") ? entry.at("steps").at(i).get<int64_t>() : static_cast<int64_t>(i);
      if (step < schedule.total_steps) distance.add(schedule.at(step), rates[i], schedule.peak);
    }
    return {};
  };
  for (const auto& [name, entry] : table.at("configs").items()) FATHOM_TRY(compare(entry));
  for (const json& entry : table.at("examples")) FATHOM_TRY(compare(entry));
  distance.report(report, "schedule", "lr_schedules.json");
  return {};
}

Status compare_capacities(const json& table, Report& report) {
  Tally unwarmed, warmed;
  Distance formula;
  for (const json& row : table.at("rows")) {
    FATHOM_ASSIGN(ModelSpec spec,
                  spec_of_words("mor expert Nr=" + row.at("num_recursion").dump(), tiny_model()));
    std::istringstream capacities(row.value("capacity_string", ""));
    for (std::string capacity; std::getline(capacities, capacity, ',');)
      spec.router->capacity.push_back(std::stod(capacity));
    FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
    const auto length = row.at("T").get<int64_t>();
    std::vector<int64_t> kept;
    for (double capacity : plan.segments.at(1).router->spec.capacity)
      kept.push_back(kernels::router_capacity(capacity, length, length));
    unwarmed.expect(kept, row.at("k").get<std::vector<int64_t>>());
  }
  for (const json& row : table.at("warmup")) {
    const auto calls = row.at("forward_call").get<std::vector<int64_t>>();
    const auto length = row.at("T").get<int64_t>();
    for (size_t i = 0; i < calls.size(); ++i) {
      const double done = static_cast<double>(calls[i]) / row.at("cap_warmup_step").get<double>();
      const double capacity = warmed_capacity(row.at("capacity").get<double>(), done);
      formula.add(capacity, row.at("capacity_formula").at(i), 1);
      const int64_t kept = kernels::router_capacity(capacity, length, length);
      warmed.expect(kept, row.at("k_used_by_the_code").at(i).get<int64_t>());
      if (row.contains("k_from_formula")) warmed.expect(kept, row.at("k_from_formula").at(i).get<int64_t>());
    }
  }
  unwarmed.report(report, "router", "capacity.json: tokens kept");
  warmed.report(report, "router", "capacity.json: tokens kept during the warm-up");
  formula.report(report, "router", "capacity.json: capacities of the warm-up");
  return {};
}

// The accounting that the released step counts follow, and the library's: 6 operations a token and parameter
// that is no embedding.
Status compare_flops(const json& table, Report& report) {
  constexpr int64_t kContext = 2048;
  constexpr double kBudget = 16.5e18, kBatchTokens = 1024.0 * kContext;
  Distance derived;
  Tally released, library;
  for (const json& row : table.at("derived")) {
    FATHOM_ASSIGN(const ModelSpec base, spec_of_shape(row.at("shape"), row.at("L")));
    const std::string model = row.at("model");
    FATHOM_ASSIGN(ModelSpec spec,
                  spec_of_words(model.starts_with("mor") ? "mor expert" + model.substr(3) : model, base));
    if (model.ends_with("kv-share")) spec.kv = KvMode::kShared;
    FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
    const double flops = paper_flops(plan, kContext), recorded = row.at("forward_flops_per_token");
    derived.add(flops, recorded, recorded);
    const double steps = row.at("steps_for_16_5e18");
    const double our_steps = kBudget / (flops * kBatchTokens);
    derived.add(our_steps, steps, steps);
    // Rounded by hand: down, up or to the nearest.
    if (row.contains("steps_in_released_config"))
      released.expect(std::fabs(our_steps - row.at("steps_in_released_config").get<double>()) < 1, true);
  }
  for (const json& row : table.at("library")) {
    FATHOM_ASSIGN(const ModelSpec vanilla, spec_of_shape(row.at("shape"), 1));
    // The rows leave the number of layers to the shape's published one.
    const std::map<std::string, int64_t> layers = {{"135M", 30}, {"360M", 32}, {"730M", 26}, {"1.7B", 24}};
    ModelSpec base = vanilla;
    base.num_hidden_layers = layers.at(row.at("shape"));
    FATHOM_ASSIGN(const ModelSpec spec, spec_of_words(row.at("model"), base));
    FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
    const ParameterCount count = count_parameters(plan);
    library.expect(count.unique - count.embedding,
                   row.at("num_parameters_exclude_embeddings").get<int64_t>());
    library.expect(6 * kContext * (count.unique - count.embedding),
                   row.at("floating_point_ops_for_1x2048_tokens").get<int64_t>());
  }
  derived.report(report, "plan", "flops.json: a token's, and steps of 16.5e18");
  if (released.compared() > 0)
    released.report(report, "plan", "flops.json: steps of the released configurations");
  library.report(report, "plan", "flops.json: the library's");
  return {};
}

// A file is told by its name and by a key that it has.
struct TableKind {
  const char* file;
  const char* key;
  Status (*compare)(const json& table, Report& report);
};
const TableKind kTables[] = {{"parameter_counts.json", "what", compare_parameter_counts},
                             {"parameter_counts.json", "note", compare_study_counts},
                             {"init_and_groups.json", "parametrisations", compare_init_and_groups},
                             {"lr_schedule.json", "cases", compare_study_schedules},
                             {"lr_batch_tokens.json", "rows", compare_study_budgets},
                             {"phi4_mini_flash_tensors.json", "tensors", compare_phi4_tensors},
                             {"scaling_fits.json", "flops_fits", compare_scaling_fits},
                             {"phonebook.json", "examples", compare_phonebook},
                             {"reasoning_eval.json", "tasks", compare_reasoning},
                             {"tie_behaviour.json", "rows", compare_tie_behaviour},
                             {"lr_schedules.json", "examples", compare_schedules},
                             {"capacity.json", "warmup", compare_capacities},
                             {"flops.json", "derived", compare_flops}};

}  // namespace

Status verify_tables(const CaseRequest& request, Report& report, Parallel& /*parallel*/) {
  std::set<std::string> files;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(request.directory, code)) {
    if (entry.path().extension() == ".json") files.insert(entry.path().filename().string());
  }
  if (code || files.empty()) return invalid(request.directory + ": no table in JSON is here");
  std::string unknown;
  Status first;  // that fails; the others are compared all the same
  for (const std::string& file : files) {
    const std::string path = request.directory + "/" + file;
    FATHOM_ASSIGN(const json table, read_json_file(path));
    const auto kind = std::ranges::find_if(kTables, [&](const TableKind& known) {
      return file == known.file && table.is_object() && table.contains(known.key);
    });
    if (kind == std::end(kTables)) {
      unknown += (unknown.empty() ? "" : ", ") + file;
      continue;
    }
    try {
      if (const Status status = kind->compare(table, report); !status.ok() && first.ok())
        first = at(path, status.error());
    } catch (const std::exception& error) {
      if (first.ok()) first = invalid(path + ": " + error.what());
    }
  }
  FATHOM_TRY(first);
  return unknown.empty() ? Status() : not_supported("not supported yet: tables " + unknown);
}

}  // namespace fathom::cli::verify
