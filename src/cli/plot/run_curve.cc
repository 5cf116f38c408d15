#include "cli/plot/run_curve.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "cli/run_reader.h"
#include "plan/count.h"
#include "train/run_config.h"

namespace fathom::cli::plot {

namespace {

using nlohmann::json;

// "kept_2" -> ("kept", 1); no index for other names.
std::pair<std::string, std::optional<size_t>> split_index(const std::string& name) {
  const size_t bar = name.rfind('_');
  if (bar == std::string::npos || bar + 1 == name.size() || name.size() - bar > 6)
    return {name, std::nullopt};
  const std::string digits = name.substr(bar + 1);
  if (digits.find_first_not_of("0123456789") != std::string::npos || digits == "0")
    return {name, std::nullopt};
  return {name.substr(0, bar), std::stoul(digits) - 1};
}

std::optional<double> number_in(const json& entry, const std::string& name) {
  if (const auto found = entry.find(name); found != entry.end() && found->is_number())
    return found->get<double>();
  const auto [list_name, index] = split_index(name);
  const auto list = entry.find(list_name);
  if (!index || list == entry.end() || !list->is_array() || *index >= list->size() ||
      !(*list)[*index].is_number())
    return std::nullopt;
  return (*list)[*index].get<double>();
}

// Names of the numbers of an entry, as number_in() takes them.
void note_names(const json& entry, std::set<std::string>& names) {
  for (const auto& [key, value] : entry.items()) {
    if (value.is_number() && key != "step") names.insert(key);
    if (!value.is_array()) continue;
    for (size_t i = 0; i < value.size(); ++i) names.insert(key + "_" + std::to_string(i + 1));
  }
}

Result<double> flops_per_token(const std::string& directory) {
  FATHOM_ASSIGN(const train::RunConfig config, train::read_run_config(directory + "/config.toml", {}));
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(config.model));
  return 3 * count_flops(plan, config.data.sequence_length).total();
}

// Reads the log from its first line to its last.
class Reader {
 public:
  Reader(XKind x, std::string y, double flops_per_token)
      : x_(x), y_(std::move(y)), flops_per_token_(flops_per_token) {}

  void add(const MetricsEntry& entry) {
    if (entry.kind == "step") {
      add_step(entry.values, entry.step);
    } else if (entry.kind == "evaluation") {
      note_names(entry.values, names_);
      const std::optional<double> value = number_in(entry.values, y_ == "loss" ? "nll" : y_);
      if (value) curve_.marks.push_back({place(entry.step), *value});
    }
  }

  Result<Curve> finish() && {
    if (steps_ == 0) return invalid("holds no step yet");
    if (curve_.points.empty() && curve_.marks.empty()) {
      std::string list;
      for (const std::string& name : names_) list += (list.empty() ? "" : ", ") + name;
      return invalid("has no number \"" + y_ + "\"; there are " + list);
    }
    // What evaluations alone know is a curve of its own.
    if (curve_.points.empty()) std::swap(curve_.points, curve_.marks);
    return std::move(curve_);
  }

 private:
  void add_step(const json& entry, double step) {
    if (steps_++ == 0) {
      note_names(entry, names_);
      names_.insert("tokens_per_second");
    }
    const double tokens = number_in(entry, "tokens").value_or(tokens_);
    const double seconds = number_in(entry, "seconds").value_or(0);
    std::optional<double> value = number_in(entry, y_);
    if (y_ == "tokens_per_second" && seconds > 0) value = (tokens - tokens_) / seconds;
    tokens_ = tokens;
    seconds_ += seconds;
    if (value) curve_.points.push_back({place(step + 1), *value});
  }

  double place(double steps_done) const {
    switch (x_) {
      case XKind::kStep:
        return steps_done;
      case XKind::kTokens:
        return tokens_;
      case XKind::kFlops:
        return tokens_ * flops_per_token_;
      case XKind::kTime:
        return seconds_;
    }
    return 0;
  }

  XKind x_;
  std::string y_;
  double flops_per_token_, tokens_ = 0, seconds_ = 0;
  int64_t steps_ = 0;
  std::set<std::string> names_;
  Curve curve_;
};

}  // namespace

Result<Curve> read_run_curve(const std::string& directory, XKind x, const std::string& y) {
  double flops = 0;
  if (x == XKind::kFlops) {
    FATHOM_ASSIGN(flops, flops_per_token(directory));
  }
  Reader reader(x, y, flops);
  FATHOM_TRY(read_metrics(directory, [&](const MetricsEntry& entry) -> Status {
    reader.add(entry);
    return {};
  }));
  Result<Curve> curve = std::move(reader).finish();
  if (!curve.ok()) return invalid(directory + "/metrics.jsonl " + curve.error().message);
  if (Result<std::string> name = run_name(directory); name.ok()) curve.value().name = std::move(name).value();
  return curve;
}

}  // namespace fathom::cli::plot
