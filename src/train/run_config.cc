#include "train/run_config.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <limits>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/sentence.h"
#include "base/toml.h"
#include "plan/scaling_study.h"
#include "plan/spec_io.h"

namespace fathom::train {

namespace {

// Far above any run, and small enough that sums of two are safe.
constexpr int64_t kMostOfAnything = int64_t{1} << 40;
// Rows, their length and micro-batches are multiplied.
constexpr int64_t kMostFactor = int64_t{1} << 20;
constexpr double kMostRate = std::numeric_limits<float>::max();
constexpr double kMostNumber = 1e9, kBelowOne = 1 - 0x1p-24, kLeastFloat = std::numeric_limits<float>::min();

template <class T>
std::string shown(T value) {
  std::ostringstream text;
  text.precision(10);
  text << value;
  return text.str();
}

// Reads the fields of one table; what is left over afterwards is unknown.
class Section {
 public:
  // `name` is what messages call the table.
  Section(const toml::table* table, std::string name) : name_(std::move(name)), table_(table) {}
  Section(const toml::table& root, std::string name) : name_(std::move(name)) {
    if (const toml::node* node = root.get(name_)) {
      table_ = node->as_table();
      if (table_ == nullptr) error_ = invalid(name_ + " is not a table");
    }
  }

  void read(const char* key, std::string& value) { take(key, value, "a string"); }
  void read(const char* key, bool& value) { take(key, value, "true or false"); }
  // Finite, and in [least, most].
  void read(const char* key, double& value, double least, double most) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    if (!node->is_number()) return fail(key, "a number");
    value = *node->value<double>();
    check_range(key, value, least, most);
  }
  void read(const char* key, int64_t& value, int64_t least, int64_t most = kMostOfAnything) {
    take(key, value, "an integer");
    check_range(key, value, least, most);
  }
  void read(const char* key, std::vector<std::string>& value) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    value.clear();
    if (const auto* text = node->as_string()) {
      value.push_back(text->get());
    } else if (const auto* list = node->as_array()) {
      for (const toml::node& entry : *list) {
        if (!entry.is_string()) return fail(key, "a list of strings");
        value.push_back(entry.as_string()->get());
      }
    } else {
      fail(key, "a string or a list of strings");
    }
  }
  // A word out of a list.
  template <class Enum>
  void read_word(const char* key, Enum& value, const std::vector<std::pair<const char*, Enum>>& words) {
    std::string word;
    if (find(key) == nullptr) return;
    take(key, word, "a string");
    if (error_) return;
    std::string expected;
    for (const auto& [name, meaning] : words) {
      if (word == name) {
        value = meaning;
        return;
      }
      expected += (expected.empty() ? "" : ", ") + std::string(name);
    }
    error_ = invalid(name_ + "." + key + " is " + in_quotes(word) + ", expected one of " + expected);
  }

  Status finish() {
    if (error_) return *error_;
    if (table_ == nullptr) return {};
    for (const auto& [key, node] : *table_) {
      if (!seen_.contains(std::string(key.str())))
        return invalid("unknown key " + name_ + "." + std::string(key.str()));
    }
    return {};
  }

  // The value of a key that the caller reads; null if there is none.
  const toml::node* find(const char* key) {
    seen_.insert(key);
    return error_ || table_ == nullptr ? nullptr : table_->get(key);
  }

 private:
  void fail(const char* key, const char* expected) {
    if (!error_) error_ = invalid(name_ + "." + key + " is not " + expected);
  }
  template <class T>
  void check_range(const char* key, T value, T least, T most) {
    if (error_ || (value >= least && value <= most)) return;
    error_ = invalid(name_ + "." + key + " is " + shown(value) + ", expected at " +
                     (value > most ? "most " + shown(most) : "least " + shown(least)));
  }
  template <class T>
  void take(const char* key, T& value, const char* expected) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    if (const auto got = node->value_exact<T>()) {
      value = *got;
    } else {
      fail(key, expected);
    }
  }

  std::string name_;
  const toml::table* table_ = nullptr;
  std::optional<Error> error_;
  std::set<std::string> seen_;
};

const std::vector<std::pair<const char*, ScheduleKind>> kSchedules = {{"constant", ScheduleKind::kConstant},
                                                                      {"linear", ScheduleKind::kLinear},
                                                                      {"cosine", ScheduleKind::kCosine},
                                                                      {"wsd", ScheduleKind::kWsd}};
const std::vector<std::pair<const char*, DecayShape>> kDecayShapes = {
    {"linear", DecayShape::kLinear}, {"cosine", DecayShape::kCosine}, {"1-sqrt", DecayShape::kOneMinusSqrt}};
const std::vector<std::pair<const char*, DecayRule>> kDecayRules = {
    {"matrices", DecayRule::kMatrices},
    {"all", DecayRule::kAll},
    {"parametrisation", DecayRule::kParametrisation}};
const std::vector<std::pair<const char*, RowOrderKind>> kOrders = {
    {"shuffle", RowOrderKind::kShuffle},
    {"sequential", RowOrderKind::kSequential},
    {"affine", RowOrderKind::kAffine},
    {"file_groups", RowOrderKind::kFileGroups}};

template <class Enum>
const char* word_of(Enum value, const std::vector<std::pair<const char*, Enum>>& words) {
  for (const auto& [name, meaning] : words) {
    if (meaning == value) return name;
  }
  return "?";
}

// "section.key=value": the value as TOML, or as a string if it is a bare word.
Status apply_override(toml::table& root, const std::string& override_text) {
  const size_t equals = override_text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return invalid("override " + in_quotes(override_text) + " is not of the form section.key=value");
  }
  const std::string path = override_text.substr(0, equals), text = override_text.substr(equals + 1);
  if (std::ranges::count(path, '.') >= TomlLimits::kKeyParts) {
    return invalid("override " + in_quotes(path) + " has more parts than the limit of " +
                   std::to_string(TomlLimits::kKeyParts));
  }
  toml::table parsed;
  if (auto table = parse_toml("value = " + text); table.ok() && table->size() == 1) {
    parsed = std::move(table).value();
  } else {
    parsed.insert("value", text);
  }
  toml::table* table = &root;
  size_t begin = 0;
  for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
    const std::string part = path.substr(begin, dot - begin);
    if (table->get(part) == nullptr) table->insert(part, toml::table{});
    table = table->get(part)->as_table();
    if (table == nullptr) return invalid("override " + path + ": " + part + " is not a table");
    begin = dot + 1;
  }
  table->insert_or_assign(path.substr(begin), *parsed.get("value"));
  return {};
}

// What names of sources are made of: they become names of files and of columns.
bool is_name_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
}

// "books/old tales.txt" -> "old_tales".
std::string name_of_path(const std::string& path) {
  std::string name = std::filesystem::path(path + "/").parent_path().stem().string();
  for (char& c : name) c = is_name_character(c) ? c : '_';
  return name;
}

// [[data.mixture]]
Result<std::vector<SourceConfig>> read_mixture(const toml::node& node) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->empty())
    return invalid("data.mixture is not a list of tables: [[data.mixture]] with paths and weight");
  std::vector<SourceConfig> sources;
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string name = "data.mixture[" + std::to_string(i) + "]";
    const toml::table* table = list->get(i)->as_table();
    if (table == nullptr) return invalid(name + " is not a table with paths and weight");
    SourceConfig source;
    Section section(table, name);
    section.read("name", source.name);
    section.read("paths", source.paths);
    section.read("weight", source.weight, kLeastFloat, kMostNumber);
    FATHOM_TRY(section.finish());
    if (source.paths.empty())
      return invalid(name + ".paths is missing: text files, directories or token shards");
    if (source.name.empty()) source.name = name_of_path(source.paths.front());
    if (!std::ranges::all_of(source.name, is_name_character)) {
      return invalid(name + ".name is \"" + source.name + "\", expected letters, digits, '.', '_' and '-'");
    }
    for (const SourceConfig& other : sources) {
      if (other.name == source.name)
        return invalid(name + ": there are two sources " + source.name + "; give them a name");
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

// `model` is a file (from here or from beside the recipe) or a table of a spec's fields.
Result<ModelSpec> read_model(const toml::table& root, const std::string& directory) {
  const toml::node* node = root.get("model");
  if (node == nullptr)
    return invalid("the key model is missing: a specification file, or a table of its fields");
  if (const auto* path = node->as_string()) {
    std::error_code ignored;
    const bool here = std::filesystem::exists(path->get(), ignored);
    return load_spec(here ? path->get() : directory + "/" + path->get());
  }
  if (const auto* table = node->as_table()) {
    return parse_spec_toml(write_toml(*table), "model");
  }
  return invalid("model is neither a file name nor a table");
}

// A learning rate for one size of batch and the parametrisation's base depth.
struct BaseRate {
  double rate = 0;
  int64_t batch_tokens = StudyBase::kBatchTokens;
  double peak_of(const RunConfig& config) const {
    const double batch = static_cast<double>(config.train.rows) *
                         static_cast<double>(config.train.accumulation) *
                         static_cast<double>(config.data.sequence_length);
    return study_learning_rate(config.model, rate, static_cast<double>(batch_tokens), batch);
  }
};

Status check(const RunConfig& config) {
  if (config.data.sources.empty())
    return invalid("data.train is missing: text files, directories or token shards");
  if (config.schedule.kind == ScheduleKind::kWsd &&
      config.schedule.warmup_steps + config.schedule.decay_steps > config.schedule.total_steps) {
    return invalid(
        "schedule.warmup_steps and schedule.decay_steps are together more than schedule.total_steps " +
        std::to_string(config.schedule.total_steps));
  }
  if (config.schedule.warmup_steps > config.schedule.total_steps) {
    return invalid("schedule.warmup_steps is " + std::to_string(config.schedule.warmup_steps) +
                   ", more than schedule.total_steps " + std::to_string(config.schedule.total_steps));
  }
  if (config.data.segments_of_row && !config.data.keep_documents_apart)
    return invalid("data.segments_of_row is for data.keep_documents_apart = true");
  if (config.data.label_inside_row && config.data.sequence_length < 2) {
    return invalid("data.sequence_length is " + std::to_string(config.data.sequence_length) +
                   ", a row that predicts inside itself has at least 2 tokens");
  }
  return {};
}

}  // namespace

Result<RunConfig> parse_run_config(std::string_view text, const std::vector<std::string>& overrides,
                                   const std::string& directory) {
  FATHOM_ASSIGN(toml::table root, parse_toml(text));
  for (const std::string& override_text : overrides) FATHOM_TRY(apply_override(root, override_text));

  RunConfig config;
  for (const auto& [key, node] : root) {
    static const std::set<std::string_view> kKnown = {"name",      "init",     "model", "data",
                                                      "optimizer", "schedule", "train"};
    if (!kKnown.contains(key.str())) return invalid("unknown key " + std::string(key.str()));
  }
  for (const auto& [key, target] : {std::pair{"name", &config.name}, std::pair{"init", &config.init}}) {
    if (root.get(key) == nullptr) continue;
    if (!root.get(key)->is_string()) return invalid(std::string(key) + " is not a string");
    *target = root.get(key)->as_string()->get();
  }
  FATHOM_ASSIGN(config.model, read_model(root, directory));

  Section data(root, "data");
  DataConfig& d = config.data;
  SourceConfig train_source{"train", {}, 1};
  data.read("train", train_source.paths);
  if (!train_source.paths.empty()) d.sources = {std::move(train_source)};
  if (const toml::node* mixture = data.find("mixture")) {
    if (!d.sources.empty())
      return invalid("data.train and data.mixture are both given, expected one of them");
    FATHOM_ASSIGN(d.sources, read_mixture(*mixture));
  }
  data.read("valid", d.valid);
  data.read("text_field", d.text_field);
  data.read("tokenizer", d.tokenizer);
  data.read("document_separator", d.document_separator);
  data.read("sequence_length", d.sequence_length, 1, kMostFactor);
  data.read("label_inside_row", d.label_inside_row);
  data.read("keep_documents_apart", d.keep_documents_apart);
  data.read("segments_of_row", d.segments_of_row);
  data.read_word("order", d.order, kOrders);
  data.read("affine_multiplier", d.affine_multiplier, 1);
  data.read("group_files", d.group_files, 1);
  FATHOM_TRY(data.finish());

  Section optimizer(root, "optimizer");
  OptimizerConfig& o = config.optimizer;
  optimizer.read("beta1", o.beta1, 0, kBelowOne);
  optimizer.read("beta2", o.beta2, 0, kBelowOne);
  optimizer.read("eps", o.eps, kLeastFloat, 1);
  optimizer.read("weight_decay", o.weight_decay, 0, kMostNumber);
  optimizer.read_word("decay", o.decay, kDecayRules);
  optimizer.read("clip", o.clip, 0, kMostNumber);
  FATHOM_TRY(optimizer.finish());

  Section train(root, "train");
  LoopConfig& t = config.train;
  auto seed = static_cast<int64_t>(t.seed);
  int64_t threads = t.threads;
  train.read("steps", t.steps, 1);
  train.read("rows", t.rows, 1, kMostFactor);
  train.read("accumulation", t.accumulation, 1, kMostFactor);
  train.read("seed", seed, 0, INT64_MAX);
  train.read_word("precision", t.precision, kPrecisionWords);
  train.read("gradient_checkpointing", t.gradient_checkpointing);
  train.read("threads", threads, 0, 4096);
  train.read("log_every", t.log_every, 1);
  train.read("eval_every", t.eval_every, 0);
  train.read("eval_rows", t.eval_rows, 1);
  train.read("save_every", t.save_every, 0);
  train.read("keep", t.keep, 1);
  train.read("sample_every", t.sample_every, 0);
  train.read("sample_prompt", t.sample_prompt);
  train.read("sample_tokens", t.sample_tokens, 1);
  train.read("label_smoothing", t.label_smoothing, 0, 1);
  train.read("attention_dropout", t.attention_dropout, 0, kBelowOne);
  train.read("attention_dropout_from", t.attention_dropout_from, 0);
  train.read("cross_attention_dropout", t.cross_attention_dropout, 0, kBelowOne);
  train.read("cross_attention_dropout_from", t.cross_attention_dropout_from, 0);
  train.read("count_masked_labels", t.count_masked_labels);
  FATHOM_TRY(train.finish());
  t.seed = static_cast<uint64_t>(seed);
  t.threads = static_cast<int>(threads);

  Section schedule(root, "schedule");
  Schedule& s = config.schedule;
  schedule.read_word("kind", s.kind, kSchedules);
  schedule.read("learning_rate", s.peak, 0, kMostRate);
  BaseRate base;
  schedule.read("base_learning_rate", base.rate, 0, kMostRate);
  schedule.read("base_batch_tokens", base.batch_tokens, 1);
  schedule.read("warmup_steps", s.warmup_steps, 0);
  schedule.read("decay_steps", s.decay_steps, 0);
  schedule.read_word("decay_shape", s.decay_shape, kDecayShapes);
  schedule.read("final_ratio", s.final_ratio, 0, 1);
  s.total_steps = t.steps;
  schedule.read("total_steps", s.total_steps, 1);
  schedule.read("per_micro_batch", s.per_micro_batch);
  const bool from_base = schedule.find("base_learning_rate") != nullptr;
  const bool given = schedule.find("learning_rate") != nullptr;
  FATHOM_TRY(schedule.finish());
  if (from_base && given) {
    return invalid(
        "schedule.learning_rate and schedule.base_learning_rate are both given, expected one of them");
  }
  if (from_base) {
    s.peak = base.peak_of(config);
    if (!(s.peak >= 0 && s.peak <= kMostRate)) {
      return invalid("schedule.base_learning_rate gives the model and its batch a learning rate of " +
                     shown(s.peak) + ", expected 0 to " + shown(kMostRate));
    }
  }
  FATHOM_TRY(check(config));
  return config;
}

Result<RunConfig> read_run_config(const std::string& path, const std::vector<std::string>& overrides) {
  FATHOM_ASSIGN(const std::string text, read_file(path, TomlLimits::kBytes));
  const std::string parent = std::filesystem::path(path).parent_path().string();
  Result<RunConfig> config = parse_run_config(text, overrides, parent.empty() ? "." : parent);
  if (!config.ok()) return at(path, config.error());
  return config;
}

std::string to_toml(const RunConfig& config) {
  const auto list = [](const std::vector<std::string>& values) {
    toml::array array;
    for (const std::string& value : values) array.push_back(value);
    return array;
  };
  const DataConfig& d = config.data;
  const OptimizerConfig& o = config.optimizer;
  const Schedule& s = config.schedule;
  const LoopConfig& t = config.train;
  toml::table root;
  root.insert("name", config.name);
  if (!config.init.empty()) root.insert("init", config.init);
  // Beside the resolved configuration lies config.json, the model as a checkpoint holds it.
  root.insert("model", "config.json");
  toml::table data{{"valid", list(d.valid)},
                   {"text_field", d.text_field},
                   {"tokenizer", d.tokenizer},
                   {"document_separator", d.document_separator},
                   {"sequence_length", d.sequence_length},
                   {"label_inside_row", d.label_inside_row},
                   {"keep_documents_apart", d.keep_documents_apart},
                   {"order", word_of(d.order, kOrders)},
                   {"affine_multiplier", d.affine_multiplier}};
  if (d.segments_of_row) data.insert("segments_of_row", true);
  if (d.order == RowOrderKind::kFileGroups) data.insert("group_files", d.group_files);
  if (d.sources.size() == 1 && d.sources.front().name == "train") {
    data.insert("train", list(d.sources.front().paths));
  } else {
    toml::array mixture;
    for (const SourceConfig& source : d.sources) {
      mixture.push_back(
          toml::table{{"name", source.name}, {"paths", list(source.paths)}, {"weight", source.weight}});
    }
    data.insert("mixture", std::move(mixture));
  }
  root.insert("data", std::move(data));
  root.insert("optimizer", toml::table{{"beta1", o.beta1},
                                       {"beta2", o.beta2},
                                       {"eps", o.eps},
                                       {"weight_decay", o.weight_decay},
                                       {"decay", word_of(o.decay, kDecayRules)},
                                       {"clip", o.clip}});
  toml::table schedule{{"kind", word_of(s.kind, kSchedules)}, {"learning_rate", s.peak},
                       {"warmup_steps", s.warmup_steps},      {"decay_steps", s.decay_steps},
                       {"final_ratio", s.final_ratio},        {"total_steps", s.total_steps}};
  // A word that runs of before do not have: written where it says something.
  if (s.decay_shape != DecayShape::kLinear)
    schedule.insert("decay_shape", word_of(s.decay_shape, kDecayShapes));
  if (s.per_micro_batch) schedule.insert("per_micro_batch", true);
  root.insert("schedule", std::move(schedule));
  toml::table train{{"steps", t.steps},
                    {"rows", t.rows},
                    {"accumulation", t.accumulation},
                    {"seed", static_cast<int64_t>(t.seed)},
                    {"precision", word_of(t.precision, kPrecisionWords)},
                    {"gradient_checkpointing", t.gradient_checkpointing},
                    {"threads", t.threads},
                    {"log_every", t.log_every},
                    {"eval_every", t.eval_every},
                    {"eval_rows", t.eval_rows},
                    {"save_every", t.save_every},
                    {"keep", t.keep},
                    {"sample_every", t.sample_every},
                    {"sample_prompt", t.sample_prompt},
                    {"sample_tokens", t.sample_tokens},
                    {"count_masked_labels", t.count_masked_labels}};
  if (t.label_smoothing > 0) train.insert("label_smoothing", t.label_smoothing);
  if (t.attention_dropout > 0) {
    train.insert("attention_dropout", t.attention_dropout);
    train.insert("attention_dropout_from", t.attention_dropout_from);
  }
  if (t.cross_attention_dropout > 0) {
    train.insert("cross_attention_dropout", t.cross_attention_dropout);
    train.insert("cross_attention_dropout_from", t.cross_attention_dropout_from);
  }
  root.insert("train", std::move(train));
  return write_toml(root);
}

}  // namespace fathom::train
