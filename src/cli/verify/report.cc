#include "cli/verify/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "base/worse_of.h"

namespace fathom::cli::verify {

namespace {

const char* word_of(Measure measure) {
  switch (measure) {
    case Measure::kAbsolute:
      return "abs";
    case Measure::kOfLargest:
      return "of largest";
    case Measure::kRelativeL2:
      return "rel L2";
    case Measure::kExact:
      return "unequal";
  }
  return "?";
}

double error_of(Measure measure, std::span<const float> got, std::span<const float> expected) {
  if (got.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double worst = 0, largest = 0, difference2 = 0, expected2 = 0, unequal = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference = std::fabs(double{got[i]} - double{expected[i]});
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, difference);
    largest = std::max(largest, std::fabs(double{expected[i]}));
    difference2 += difference * difference;
    expected2 += double{expected[i]} * expected[i];
    unequal += difference != 0 ? 1 : 0;
  }
  switch (measure) {
    case Measure::kAbsolute:
      return worst;
    case Measure::kOfLargest:
      return largest > 0 ? worst / largest : worst;
    case Measure::kRelativeL2:
      return expected2 > 0 ? std::sqrt(difference2 / expected2) : std::sqrt(difference2);
    case Measure::kExact:
      return unequal;
  }
  return worst;
}

}  // namespace

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kLogits:
      return "logits";
    case Kind::kLosses:
      return "losses";
    case Kind::kGradients:
      return "gradients";
    case Kind::kStates:
      return "states";
    case Kind::kModules:
      return "modules";
    case Kind::kParameters:
      return "parameters";
    case Kind::kGates:
      return "gates";
    case Kind::kSelections:
      return "selections";
  }
  return "?";
}

double Limits::of(Kind kind) const {
  switch (kind) {
    case Kind::kLogits:
      return logits;
    case Kind::kLosses:
      return losses;
    case Kind::kGradients:
      return gradients;
    case Kind::kStates:
      return states;
    case Kind::kModules:
      return modules;
    case Kind::kParameters:
      return parameters;
    case Kind::kGates:
      return gates;
    case Kind::kSelections:
      return 0;
  }
  return 0;
}

Status apply_tolerance(const std::vector<std::string>& flags, Limits& limits) {
  for (const std::string& flag : flags) {
    const size_t equals = flag.find('=');
    const std::string name = equals == std::string::npos ? "" : flag.substr(0, equals);
    const std::string number = equals == std::string::npos ? flag : flag.substr(equals + 1);
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    if (number.empty() || *end != '\0' || !(value >= 0)) {
      return wrong_usage("--tolerance " + flag + ": \"" + number + "\" is not a number of at least 0");
    }
    bool known = name.empty();
    const auto set = [&](const char* word, double& limit) {
      if (!name.empty() && name != word) return;
      limit = value;
      known = true;
    };
    set("logits", limits.logits);
    set("losses", limits.losses);
    set("gradients", limits.gradients);
    if (name.empty() || name == "gradients") limits.gradients_in_float = 0;
    set("states", limits.states);
    set("modules", limits.modules);
    set("parameters", limits.parameters);
    set("gates", limits.gates);
    if (!known) {
      return wrong_usage("--tolerance " + flag + ": unknown name \"" + name +
                         "\", expected logits, losses, gradients, states, modules, parameters or gates");
    }
  }
  return {};
}

void Report::compare(const std::string& executor, const std::string& tensor, Kind kind,
                     std::span<const float> got, std::span<const float> expected, double allowed) {
  Measure measure = Measure::kAbsolute;
  if (kind == Kind::kGradients || kind == Kind::kGates) measure = limits_.gradient_measure;
  if (kind == Kind::kModules) measure = Measure::kOfLargest;
  if (kind == Kind::kSelections) measure = Measure::kExact;
  add({executor, tensor, measure, error_of(measure, got, expected), std::max(limits_.of(kind), allowed)});
}

void Report::compare(const std::string& executor, const std::string& tensor, Kind kind, double got,
                     double expected) {
  add({executor, tensor, Measure::kAbsolute, worse_of(0, std::fabs(got - expected)), limits_.of(kind)});
}

bool Report::ok() const {
  return !findings_.empty() && std::ranges::all_of(findings_, [](const Finding& f) { return f.ok(); });
}

std::string Report::to_text() const {
  size_t width = 10;
  for (const Finding& f : findings_) width = std::max(width, f.tensor.size());
  std::string text;
  char line[512];
  for (const Finding& f : findings_) {
    std::snprintf(line, sizeof line, "  %-8s %-*s %10.3g  limit %-8.3g %-10s %s\n", f.executor.c_str(),
                  static_cast<int>(std::min<size_t>(width, 300)), f.tensor.c_str(), f.error, f.limit,
                  word_of(f.measure), f.ok() ? "ok" : "FAILED");
    text += line;
  }
  for (const std::string& sentence : notes_) text += "  note: " + sentence + "\n";
  return text;
}

nlohmann::json Report::to_json() const {
  nlohmann::json list = nlohmann::json::array();
  for (const Finding& f : findings_) {
    // JSON has no infinity: a failed comparison of shapes or NaN prints as null.
    const nlohmann::json error = std::isfinite(f.error) ? nlohmann::json(f.error) : nlohmann::json(nullptr);
    list.push_back({{"executor", f.executor},
                    {"tensor", f.tensor},
                    {"measure", word_of(f.measure)},
                    {"error", error},
                    {"limit", f.limit},
                    {"ok", f.ok()}});
  }
  nlohmann::json json = {{"case", case_name_}, {"ok", ok()}, {"findings", list}};
  if (!notes_.empty()) json["notes"] = notes_;
  return json;
}

Status Report::add_json(const nlohmann::json& json) {
  if (!json.is_object() || !json.contains("findings") || !json["findings"].is_array()) {
    return invalid("the training half printed no findings");
  }
  for (const nlohmann::json& entry : json["findings"]) {
    Finding f;
    f.executor = entry.at("executor").get<std::string>();
    f.tensor = entry.at("tensor").get<std::string>();
    const std::string measure = entry.at("measure").get<std::string>();
    for (Measure m : {Measure::kAbsolute, Measure::kOfLargest, Measure::kRelativeL2, Measure::kExact}) {
      if (measure == word_of(m)) f.measure = m;
    }
    f.error = entry.at("error").is_null() ? std::numeric_limits<double>::infinity()
                                          : entry.at("error").get<double>();
    f.limit = entry.at("limit").get<double>();
    add(std::move(f));
  }
  return {};
}

}  // namespace fathom::cli::verify
