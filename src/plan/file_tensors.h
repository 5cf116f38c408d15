// The four naming schemes, and the list that they fill.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "plan/naming.h"

namespace fathom {

// Collects file tensors. A parameter that is met again (a shared layer's, at its next depth; the tied head)
// becomes an alias of the tensor that holds it.
class FileTensorList {
 public:
  explicit FileTensorList(const ModelPlan& plan) : plan_(plan) {}

  // One tensor, one parameter.
  void add(const std::string& name, const ParamRef& ref, int32_t depth = 0);
  // The same with another shape of equal rows, e.g. [e, 1, 4] for a parameter [e, 4].
  void add_shaped(const std::string& name, const ParamRef& ref, std::vector<int64_t> shape);
  // Parameters one after another along the first dimension.
  void add_stacked(const std::string& name, const std::vector<ParamRef>& refs);
  // Any mapping; file rows must be covered in order.
  void add_pieces(const std::string& name, std::vector<int64_t> shape, std::vector<TensorPiece> pieces);

  const std::vector<int64_t>& shape_of(const ParamRef& ref) const {
    return plan_.params[static_cast<size_t>(ref.at(0))].shape;
  }
  std::vector<FileTensor> take() { return std::move(tensors_); }

 private:
  const ModelPlan& plan_;
  std::vector<FileTensor> tensors_;
  std::map<int32_t, size_t> tensor_of_param_;
};

std::vector<FileTensor> llama_tensors(const ModelPlan& plan, bool routed_names);
std::vector<FileTensor> archscale_tensors(const ModelPlan& plan);
std::vector<FileTensor> phi4flash_tensors(const ModelPlan& plan);

}  // namespace fathom
