// What `fathom verify` finds: one line per compared tensor with its error and its limit.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace fathom::cli::verify {

// How far a tensor is from the recorded one.
enum class Measure : uint8_t {
  kAbsolute,    // max |a - b|
  kOfLargest,   // max |a - b| / max |b|
  kRelativeL2,  // |a - b|_2 / |b|_2
  kExact        // number of unequal entries
};

// Kinds of tensors that share a limit; the words of --tolerance.
enum class Kind : uint8_t {
  kLogits,
  kLosses,
  kGradients,
  kStates,
  kModules,
  kParameters,
  kGates,
  kSelections
};
const char* name_of(Kind kind);

// Limits of one family of cases, and what --tolerance replaced.
struct Limits {
  double logits = 2e-5, losses = 5e-6, gradients = 1e-5, states = 2e-5, modules = 1e-5, parameters = 2e-6,
         gates = 1e-4;
  // What arithmetic in float may cost gradients that nearly cancel, in the measure of gradients; 0: the case
  // does not say that it costs more than the limit.
  double gradients_in_float = 0;
  Measure gradient_measure = Measure::kRelativeL2;
  double of(Kind kind) const;
};

// "1e-4" replaces every limit but those of selections, "logits=1e-4" one.
Status apply_tolerance(const std::vector<std::string>& flags, Limits& limits);

struct Finding {
  std::string executor;  // "kernels", "engine", "train"
  std::string tensor;
  Measure measure = Measure::kAbsolute;
  double error = 0;
  double limit = 0;
  bool ok() const { return error <= limit; }  // false for NaN
};

class Report {
 public:
  Report(std::string name, Limits limits) : case_name_(std::move(name)), limits_(limits) {}

  // Compares and records. Arrays of different lengths are an error of infinity. The limit is that of the
  // kind, or `allowed` where that is more.
  void compare(const std::string& executor, const std::string& tensor, Kind kind, std::span<const float> got,
               std::span<const float> expected, double allowed = 0);
  void compare(const std::string& executor, const std::string& tensor, Kind kind, double got,
               double expected);
  void add(Finding finding) { findings_.push_back(std::move(finding)); }
  // What could not be compared, and why; printed, and no failure.
  void note(std::string sentence) { notes_.push_back(std::move(sentence)); }

  const std::string& case_name() const { return case_name_; }
  const Limits& limits() const { return limits_; }
  const std::vector<Finding>& findings() const { return findings_; }
  bool ok() const;  // at least one finding, all within their limits

  std::string to_text() const;
  nlohmann::json to_json() const;
  Status add_json(const nlohmann::json& json);  // findings printed by the other process

 private:
  std::string case_name_;
  Limits limits_;
  std::vector<Finding> findings_;
  std::vector<std::string> notes_;
};

}  // namespace fathom::cli::verify
