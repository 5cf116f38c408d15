#include "cli/verify/study_tables.h"

#include <cmath>
#include <map>
#include <set>

#include "base/worse_of.h"
#include "cli/plot/power_law.h"
#include "cli/verify/case_kinds.h"
#include "plan/count.h"
#include "plan/naming.h"
#include "plan/scaling_study.h"
#include "train/schedule.h"

namespace fathom::cli::verify {

namespace {

using nlohmann::json;

constexpr int64_t kVocabulary = 32000;

// "sambay_d16": the study's shape at that depth, but for Phi-4-mini-flash.
Result<ModelSpec> spec_of_name(const std::string& name) {
  const size_t cut = name.rfind("_d");
  if (cut == std::string::npos) return invalid("model \"" + name + "\", expected <architecture>_d<layers>");
  ModelSpec spec;
  spec.architecture = name.substr(0, cut);
  spec.vocab_size = kVocabulary;
  spec.num_hidden_layers = std::atoll(name.c_str() + cut + 2);
  if (spec.architecture == "phi4miniflash") {
    spec.architecture = "phi4flash";
    spec.hidden_size = 2560;
    spec.intermediate_size = 10240;
    spec.num_attention_heads = 40;
    spec.num_key_value_heads = 20;
    spec.head_dim = 64;
    spec.vocab_size = 200064;
    return spec;
  }
  if (!has_study_shape(spec.architecture))
    return invalid("architecture: the study has no \"" + spec.architecture + "\"");
  FATHOM_TRY(give_study_shape(spec));
  return spec;
}

// Names of runs and of parametrisations, as the published code tells them apart: "scaling_ori_mup" and
// "mup_original_untied" are muP, any other "mup" is muP++.
Parametrisation parametrisation_of(const std::string& words) {
  if (words.starts_with("mup_original") || words.find("_ori_mup") != std::string::npos)
    return Parametrisation::kMuP;
  if (words.find("mup") != std::string::npos) return Parametrisation::kMuPPlusPlus;
  return Parametrisation::kStandard;
}

// Counts of differential attention over an odd number of key heads, which cannot be paired.
bool has_unpaired_heads(const ModelSpec& spec) {
  return spec.architecture == "sambayda" && spec.num_key_value_heads % 2 == 1;
}

// A sentence of what is left out, by kind.
class LeftOut {
 public:
  // `error` is why there is no plan of `spec`; returned where that is no reason to leave the model out.
  Status add(const ModelSpec& spec, const Error& error) {
    if (has_unpaired_heads(spec)) {
      sentences_.insert("odd numbers of key heads under differential attention");
      return {};
    }
    if (error.kind != ErrorKind::kNotSupported) return error;
    const size_t colon = error.message.find(": ");
    sentences_.insert(colon == std::string::npos ? error.message : error.message.substr(colon + 2));
    return {};
  }
  std::string text() const {
    std::string text;
    for (const std::string& sentence : sentences_) text += ", without " + sentence;
    return text;
  }

 private:
  std::set<std::string> sentences_;
};

// Constants say their value, distributions their width; what stands under "special" in the table is written
// out in its notes alone.
bool is_init(const Init& init, const json& expected) {
  const auto near = [&](const char* key) {
    const double value = expected.at(key);
    return std::fabs(init.a - value) <= 1e-12 * std::fabs(value);
  };
  const std::string kind = expected.at("dist");
  if (kind == "normal") return init.kind == InitKind::kNormal && near("std");
  if (kind == "uniform") return init.kind == InitKind::kUniform && near("bound");
  if (kind == "ones" || kind == "zeros")
    return init.kind == InitKind::kConstant && init.a == (kind == "ones" ? 1 : 0);
  return kind == "special" && (init.kind == InitKind::kLogRange || init.kind == InitKind::kLogUniform ||
                               init.kind == InitKind::kInverseSoftplusDt);
}

struct ParameterTallies {
  Tally init, rates, decays, names;
  Distance scales;
};

// One model of one parametrisation: a row is a tensor, of several layers if its name has a star.
Status compare_model(const ModelPlan& plan, const json& expected, double weight_decay, ParameterTallies& t) {
  t.scales.add(plan.logit_scale, expected.at("logit_scale"), 1);
  t.scales.add(plan.residual_scale, expected.at("residual_branch_scale"), 1);
  if (expected.contains("attention_softmax_scale")) {
    const double scale = expected.at("attention_softmax_scale");
    for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t) {
      if (const auto* attention = std::get_if<Attention>(&layer.mixer))
        t.scales.add(attention->scale, scale, 1);
    });
  }
  std::map<std::string, FileTensor> tensors;
  for (FileTensor& tensor : checkpoint_tensors(plan, NamingScheme::kArchScale)) {
    const std::string name = tensor.name;
    tensors.emplace(name, std::move(tensor));
  }
  size_t found = 0;
  for (const json& row : expected.at("tensors")) {
    for (const json& layer : row.value("layers", json::array({0}))) {
      std::string name = row.at("name");
      if (const size_t star = name.find('*'); star != std::string::npos) name.replace(star, 1, layer.dump());
      const auto tensor = tensors.find(name);
      t.names.expect(tensor != tensors.end(), true);
      if (tensor == tensors.end()) continue;
      ++found;
      t.names.expect(tensor->second.shape, row.at("shape").get<std::vector<int64_t>>());
      for (const TensorPiece& piece : tensor->second.pieces) {
        const Param& param = plan.params[static_cast<size_t>(piece.param)];
        t.init.expect(is_init(param.init, row.at("init")), true);
        t.rates.expect(rate_multiplier(plan.spec, param), row.at("lr_mult").get<double>());
        t.decays.expect(decays_by_parametrisation(plan.spec, param) ? weight_decay : 0.0,
                        row.at("weight_decay").get<double>());
      }
    }
  }
  t.names.expect(found, tensors.size());
  return {};
}

train::Schedule schedule_of(const json& entry) {
  using train::ScheduleKind;
  train::Schedule schedule;
  const std::string name = entry.at("train_config");
  const bool wsd = name.find("wsd") != std::string::npos, cosine = name.find("cosine") != std::string::npos;
  schedule.kind = wsd ? ScheduleKind::kWsd : (cosine ? ScheduleKind::kCosine : ScheduleKind::kLinear);
  schedule.decay_shape = cosine ? train::DecayShape::kCosine : train::DecayShape::kLinear;
  schedule.peak = entry.at("lr");
  schedule.warmup_steps = entry.at("warmup_iters");
  schedule.total_steps = entry.at("max_iters");
  schedule.final_ratio = entry.at("min_lr").get<double>() / schedule.peak;
  // Five sevenths of what follows the warm-up are stable, rounded down.
  const int64_t rest = schedule.total_steps - schedule.warmup_steps;
  schedule.decay_steps = rest - rest * 5 / 7;
  return schedule;
}

}  // namespace

Status compare_study_counts(const json& table, Report& report) {
  Tally tally;
  LeftOut left_out;
  for (const json& row : table.at("rows")) {
    FATHOM_ASSIGN(ModelSpec spec, spec_of_name(row.at("name")));
    const Result<ModelPlan> tied = build_plan(spec);
    if (!tied.ok()) {
      FATHOM_TRY(left_out.add(spec, tied.error()));
      continue;
    }
    const auto number = [&](const char* key) { return row.at(key).get<int64_t>(); };
    const ParameterCount count = count_parameters(*tied);
    const auto compare = [&](const char* key, int64_t got) {
      if (row.contains(key)) tally.expect(got, number(key));
    };
    compare("n_head", spec.num_attention_heads);
    compare("kv_heads", spec.num_key_value_heads);
    compare("head_dim", spec.head_dim);
    compare("intermediate_size", spec.intermediate_size);
    tally.expect(spec.hidden_size, number("width"));
    tally.expect(count.unique, number("total_tied"));
    tally.expect(count.embedding, number("embedding"));
    tally.expect(count.non_embedding(), number("non_embedding"));
    tally.expect(static_cast<int64_t>(checkpoint_tensors(*tied, naming_of(*tied)).size()), number("tensors"));
    spec.tie_word_embeddings = false;
    FATHOM_ASSIGN(const ModelPlan untied, build_plan(spec));
    tally.expect(count_parameters(untied).unique, number("total_untied"));
  }
  tally.report(report, "plan", "parameter_counts.json" + left_out.text());
  return {};
}

Status compare_init_and_groups(const json& table, Report& report) {
  ParameterTallies tallies;
  LeftOut left_out;
  const double weight_decay = table.at("base").at("weight_decay0");
  for (const auto& [words, models] : table.at("parametrisations").items()) {
    for (const auto& [name, expected] : models.items()) {
      FATHOM_ASSIGN(ModelSpec spec, spec_of_name(name));
      spec.parametrisation = parametrisation_of(words);
      spec.mup_base_depth = table.at("base").at("d0");
      spec.tie_word_embeddings = words.ends_with("_tied");
      const Result<ModelPlan> plan = build_plan(spec);
      if (!plan.ok()) {
        FATHOM_TRY(left_out.add(spec, plan.error()));
        continue;
      }
      FATHOM_TRY(compare_model(*plan, expected, weight_decay, tallies));
    }
  }
  const std::string file = "init_and_groups.json" + left_out.text();
  tallies.names.report(report, "plan", file + ": names and shapes");
  tallies.init.report(report, "plan", file + ": initial distributions");
  tallies.rates.report(report, "plan", file + ": learning-rate multipliers");
  tallies.decays.report(report, "plan", file + ": weight decay");
  tallies.scales.report(report, "plan", file + ": scales of logits, residuals and attention");
  return {};
}

Status compare_study_schedules(const json& table, Report& report) {
  Distance distance;
  for (const json& entry : table.at("cases")) {
    const train::Schedule schedule = schedule_of(entry);
    const json& rates = entry.at("values");
    for (size_t i = 0; i < rates.size(); ++i)
      distance.add(schedule.at(static_cast<double>(i)), rates[i], schedule.peak);
  }
  distance.report(report, "schedule", "lr_schedule.json");
  return {};
}

Status compare_study_budgets(const json& table, Report& report) {
  Tally tokens;
  Distance rates;
  for (const json& row : table.at("rows")) {
    FATHOM_ASSIGN(ModelSpec spec, spec_of_name(row.at("model")));
    spec.parametrisation = parametrisation_of(row.at("train_config"));
    const auto number = [&](const char* key) { return row.at(key).get<int64_t>(); };
    FATHOM_ASSIGN(const double parameters, study_parameters(spec));
    FATHOM_ASSIGN(const int64_t train_tokens, study_train_tokens(spec));
    const int64_t batch =
        study_batch_tokens(number("nodes") * number("devices") * number("micro_batch") * number("seq_len"));
    tokens.expect(parameters, row.at("n_target").get<double>());
    tokens.expect(train_tokens, number("train_tokens"));
    tokens.expect(batch, number("global_batch_tokens"));
    const double rate = study_learning_rate(spec, StudyBase::kLearningRate, StudyBase::kBatchTokens,
                                            static_cast<double>(batch));
    rates.add(rate, row.at("learning_rate"), StudyBase::kLearningRate);
  }
  tokens.report(report, "plan", "lr_batch_tokens.json: parameters, tokens, batches");
  rates.report(report, "plan", "lr_batch_tokens.json: peak learning rates");
  return {};
}

// The problem is flat: its recorded minima are as good as ours to some digits of the sum of squares, less of
// its numbers.
Status compare_scaling_fits(const json& table, Report& report) {
  double squares = 0, values = 0, floors = 0;
  int64_t compared = 0;
  const auto compare = [&](const json& recorded, const char* x, double most_exponent) -> Status {
    std::vector<plot::Point> points;
    for (size_t i = 0; i < recorded.at("loss").size(); ++i)
      points.push_back({recorded.at(x).at(i), recorded.at("loss").at(i)});
    FATHOM_ASSIGN(const plot::LawFit fit, plot::fit_power_law(points, most_exponent));
    const plot::PowerLaw law{recorded.at("A"), recorded.at("b"), recorded.at("C")};
    for (const plot::Point& point : points)
      values = worse_of(values, std::fabs(fit.law.at(point.x) - law.at(point.x)));
    const double least = recorded.at("sum_of_squares");
    squares = worse_of(squares, std::fabs((fit.sum_of_squares - least) / least));
    floors = worse_of(floors, std::fabs(fit.law.c - law.c));
    ++compared;
    return {};
  };
  for (const json& fit : table.at("flops_fits")) FATHOM_TRY(compare(fit, "x", 1));
  for (const json& fit : table.at("token_fits"))
    FATHOM_TRY(compare(fit, "x_billion_tokens", plot::kMostExponent));
  const auto add = [&](const std::string& what, Measure measure, double error, double limit) {
    report.add({"fit", "scaling_fits.json: " + what + " (" + std::to_string(compared) + " compared)", measure,
                compared > 0 ? error : INFINITY, limit});
  };
  add("sums of squares", Measure::kOfLargest, squares, 1e-6);
  add("values at the points", Measure::kAbsolute, values, 1e-6);
  add("floors C", Measure::kAbsolute, floors, 1e-5);
  return {};
}

Status compare_phi4_tensors(const json& table, Report& report) {
  FATHOM_ASSIGN(const ModelSpec spec, spec_of_name("phi4miniflash_d32"));
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
  std::map<std::string, std::vector<int64_t>> got, expected;
  for (const FileTensor& tensor : checkpoint_tensors(plan, NamingScheme::kPhi4Flash))
    got[tensor.name] = tensor.shape;
  for (const json& row : table.at("tensors"))
    expected[row.at("name")] = row.at("shape").get<std::vector<int64_t>>();
  Tally tally;
  for (const auto& [name, shape] : expected) tally.expect(got[name], shape);
  tally.expect(got.size(), expected.size());
  const ParameterCount count = count_parameters(plan);
  tally.expect(count.unique, table.at("parameters").get<int64_t>());
  const auto compare = [&](const char* key, int64_t number) {
    if (table.contains(key)) tally.expect(number, table.at(key).get<int64_t>());
  };
  compare("tensor_count", static_cast<int64_t>(got.size()));
  compare("embedding", count.embedding);
  compare("non_embedding", count.non_embedding());
  tally.report(report, "plan", "phi4_mini_flash_tensors.json");
  return {};
}

}  // namespace fathom::cli::verify
