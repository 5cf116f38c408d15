// The kinds of recorded cases that have a verifier of their own, told apart by the start of a directory's
// name. Every other directory is a case of a whole model.
#pragma once

#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "cli/verify/report.h"

namespace fathom::cli::verify {

struct CaseRequest {
  std::string directory, name;
  std::vector<std::string> tolerance;  // flags, see apply_tolerance()
};

struct CaseKind {
  const char* prefix;
  // Adds findings, or puts a report with limits of its own in the place of `report`. Not called where the
  // whole model could not be verified.
  Status (*verify)(const CaseRequest& request, Report& report, Parallel& parallel);
  bool whole_model = false;  // the case is one of a whole model, too, which is verified first
};

// nullptr: a whole model and nothing else.
const CaseKind* find_case_kind(const std::string& name);

// init_rules: which layers of a vanilla model fill a recursive one, a table with a row a model and rule.
Status verify_init_rules(const CaseRequest& request, Report& report, Parallel& parallel);

// init_*: weights.safetensors out of source.safetensors by the case's rule, exact.
Status verify_uptrained_weights(const CaseRequest& request, Report& report, Parallel& parallel);

// tables: a JSON file a subject, each number against the function that says it.
Status verify_tables(const CaseRequest& request, Report& report, Parallel& parallel);

// packed_data: packed token files read and written again, and the order of their rows, exact.
Status verify_packed_data(const CaseRequest& request, Report& report, Parallel& parallel);

// The largest difference, in parts of a scale of any sign, from recorded numbers, which were computed in
// another order of operations.
class Distance {
 public:
  void add(double got, double expected, double scale);
  void report(Report& report, const std::string& executor, const std::string& what) const;

 private:
  double worst_ = 0;
  int64_t compared_ = 0;
};

// Counts values that must be equal.
class Tally {
 public:
  template <class T>
  void expect(const T& got, const T& expected) {
    ++compared_;
    if (!(got == expected)) ++unequal_;
  }
  int64_t compared() const { return compared_; }
  // A line "<what> (N compared)"; nothing compared is a failure.
  void report(Report& report, const std::string& executor, const std::string& what) const;

 private:
  int64_t compared_ = 0, unequal_ = 0;
};

}  // namespace fathom::cli::verify
