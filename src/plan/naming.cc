#include "plan/naming.h"

#include "plan/file_tensors.h"

namespace fathom {

NamingScheme naming_of(const ModelPlan& plan) {
  if (plan.spec.architecture == "phi4flash") return NamingScheme::kPhi4Flash;
  if (plan.spec.architecture != "llama") return NamingScheme::kArchScale;
  for (const Segment& segment : plan.segments) {
    if (segment.router) return NamingScheme::kMor;
  }
  return NamingScheme::kLlama;
}

std::vector<FileTensor> checkpoint_tensors(const ModelPlan& plan, NamingScheme scheme) {
  switch (scheme) {
    case NamingScheme::kLlama:
    case NamingScheme::kMor:
      return llama_tensors(plan, scheme == NamingScheme::kMor);
    case NamingScheme::kArchScale:
      return archscale_tensors(plan);
    case NamingScheme::kPhi4Flash:
      return phi4flash_tensors(plan);
  }
  return {};
}

}  // namespace fathom
