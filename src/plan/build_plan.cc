#include "plan/architecture.h"
#include "plan/families.h"
#include "plan/model_plan.h"
#include "plan/spec_check.h"

namespace fathom {

Result<ModelPlan> build_plan(const ModelSpec& given) {
  const bool llama = given.architecture == "llama";
  // An architecture that is unknown or unsupported is worth more than a complaint about its sizes.
  if (!llama) {
    if (auto known = find_hybrid(given.architecture); !known.ok()) return known.error();
  }
  FATHOM_ASSIGN(const ModelSpec spec, check_spec(given));
  FATHOM_ASSIGN(ModelPlan plan, llama ? llama_plan(spec) : hybrid_plan(spec));
  FATHOM_TRY(validate(plan));
  return plan;
}

}  // namespace fathom
