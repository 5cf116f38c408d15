#include "plan/file_tensors.h"

#include <utility>

namespace fathom {

void FileTensorList::add(const std::string& name, const ParamRef& ref, int32_t depth) {
  const int32_t param = ref.at(depth);
  if (const auto known = tensor_of_param_.find(param); known != tensor_of_param_.end()) {
    tensors_[known->second].aliases.push_back(name);
    return;
  }
  tensor_of_param_[param] = tensors_.size();
  const std::vector<int64_t>& shape = plan_.params[static_cast<size_t>(param)].shape;
  add_pieces(name, shape, {{.param = param, .rows = shape[0]}});
}

void FileTensorList::add_shaped(const std::string& name, const ParamRef& ref, std::vector<int64_t> shape) {
  const int64_t rows = shape[0];
  add_pieces(name, std::move(shape), {{.param = ref.at(0), .rows = rows}});
}

void FileTensorList::add_stacked(const std::string& name, const std::vector<ParamRef>& refs) {
  std::vector<int64_t> shape = shape_of(refs.front());
  shape[0] = 0;
  std::vector<TensorPiece> pieces;
  for (const ParamRef& ref : refs) {
    const int64_t rows = shape_of(ref)[0];
    pieces.push_back({.param = ref.at(0), .file_row = shape[0], .rows = rows});
    shape[0] += rows;
  }
  add_pieces(name, std::move(shape), std::move(pieces));
}

void FileTensorList::add_pieces(const std::string& name, std::vector<int64_t> shape,
                                std::vector<TensorPiece> pieces) {
  tensors_.push_back({.name = name, .shape = std::move(shape), .pieces = std::move(pieces), .aliases = {}});
}

}  // namespace fathom
