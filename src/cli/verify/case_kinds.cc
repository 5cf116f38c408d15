#include "cli/verify/case_kinds.h"

#include <cmath>
#include <limits>

#include "base/worse_of.h"
#include "cli/verify/module_case.h"

namespace fathom::cli::verify {

namespace {

Status verify_module(const CaseRequest& request, Report& report, Parallel& parallel) {
  Limits limits;
  limits.gradients = 1e-4;
  limits.gradient_measure = Measure::kOfLargest;
  FATHOM_TRY(apply_tolerance(request.tolerance, limits));
  report = Report(request.name, limits);
  return run_module_case(request.directory, request.name, report, parallel);
}

// Longest prefixes first where one is the start of another.
const CaseKind kKinds[] = {
    {"module_", verify_module},
    {"init_rules", verify_init_rules},
    {"init_", verify_uptrained_weights, /*whole_model=*/true},
    {"tables", verify_tables},
    {"packed_data", verify_packed_data},
};

}  // namespace

const CaseKind* find_case_kind(const std::string& name) {
  for (const CaseKind& kind : kKinds) {
    if (name.starts_with(kind.prefix)) return &kind;
  }
  return nullptr;
}

void Distance::add(double got, double expected, double scale) {
  worst_ = worse_of(worst_, std::fabs((got - expected) / scale));
  ++compared_;
}

void Distance::report(Report& report, const std::string& executor, const std::string& what) const {
  constexpr double kRounding = 1e-12;
  report.add({executor, what + " (" + std::to_string(compared_) + " compared)", Measure::kOfLargest,
              compared_ > 0 ? worst_ : std::numeric_limits<double>::infinity(), kRounding});
}

void Tally::report(Report& report, const std::string& executor, const std::string& what) const {
  const double error =
      compared_ > 0 ? static_cast<double>(unequal_) : std::numeric_limits<double>::infinity();
  report.add({executor, what + " (" + std::to_string(compared_) + " compared)", Measure::kExact, error, 0});
}

}  // namespace fathom::cli::verify
