#include "weights/model_source.h"

#include "weights/stored_matrix.h"
#include "weights/stored_ties.h"

namespace fathom {

std::vector<NamedShape> names_and_shapes(const WeightFiles& files) {
  std::vector<NamedShape> tensors;
  for (const StoredTensor& stored : files.tensors())
    tensors.push_back({stored.info->name, stored.info->shape});
  return tensors;
}

Result<ModelSource> open_model_source(const ModelSpec& spec, const std::string& weights) {
  ModelSource source;
  FATHOM_ASSIGN(WeightFiles files, WeightFiles::open(weights));
  if (const auto recursion = published_recursion(names_and_shapes(files)); recursion && !spec.router) {
    return invalid(
        files.path() + ": the tensors are those of a routed model (" + to_sentence(*recursion) +
        "), of which its configuration says nothing; `fathom convert --spec` adds what is missing");
  }
  FATHOM_ASSIGN(const ModelSpec tied, with_stored_ties(spec, files));
  FATHOM_ASSIGN(source.plan, build_plan(tied));
  source.scheme =
      naming_of(source.plan, [&](const std::string& name) { return files.find(name) != nullptr; });
  source.files = std::make_shared<const WeightFiles>(std::move(files));
  return source;
}

MatrixTypes stored_matrix_types(const ModelSource& source) {
  const WeightFiles& files = *source.files;
  const DType quantised = quantised_type(files);
  if (quantised == DType::kI8) return DType::kI8;
  if (quantised == DType::kI4) {
    MatrixTypes types = DType::kI4;
    for (const FileTensor& tensor : stored_tensors(source.plan, source.scheme, files)) {
      const StoredTensor* stored = files.find(tensor.name);
      for (const std::string& alias : tensor.aliases) {
        if (stored == nullptr) stored = files.find(alias);
      }
      if (stored == nullptr) continue;  // reading says so
      const std::optional<MatrixTypes::Own> own = quantised_type(files, *stored, tensor.shape.back());
      for (const TensorPiece& piece : tensor.pieces) {
        if (own) types.own[piece.param] = *own;
      }
    }
    return types;
  }
  const StoredTensor* embedding =
      source.files->find(checkpoint_tensors(source.plan, source.scheme).front().name);
  return embedding != nullptr && embedding->info->dtype == DType::kBF16 ? DType::kBF16 : DType::kF32;
}

}  // namespace fathom
