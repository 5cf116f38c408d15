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

NamingScheme naming_of(const ModelPlan& plan, const std::function<bool(const std::string&)>& holds) {
  const NamingScheme scheme = naming_of(plan);
  const bool training_names = scheme == NamingScheme::kPhi4Flash && holds("transformer.wte.weight");
  return training_names ? NamingScheme::kArchScale : scheme;
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
