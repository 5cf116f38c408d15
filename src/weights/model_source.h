// A model where it lies: the plan of its configuration, with the ties that its weights show, and the weights.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/weight_files.h"
#include "plan/matrix_types.h"
#include "plan/model_plan.h"
#include "plan/naming.h"
#include "plan/published_names.h"

namespace fathom {

struct ModelSource {
  ModelPlan plan;
  NamingScheme scheme = NamingScheme::kLlama;
  std::shared_ptr<const WeightFiles> files;
};

// Of every tensor there.
std::vector<NamedShape> names_and_shapes(const WeightFiles& files);

// The model that `spec` describes, with weights in `weights`: a directory or a file (io/weight_files.h).
// Nothing is compared with the plan's tensors yet; reading them does (weights/checkpoint.h). Errors: the
// files' or the plan's, and tensors of a routed model where the spec has no router (plan/published_names.h).
Result<ModelSource> open_model_source(const ModelSpec& spec, const std::string& weights);

// In which type the matrices are stored: int4 or int8 if any is, else the embedding's, bfloat16 or float.
// With int4 each that is int8 or int4 keeps its type and group.
MatrixTypes stored_matrix_types(const ModelSource& source);

}  // namespace fathom
