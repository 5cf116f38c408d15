// Between files and parameters, by the plan's name tables (plan/naming.h): the same table reads a published
// checkpoint, writes ours, and finds the gradients of a recorded case.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "io/weight_files.h"
#include "plan/model_plan.h"
#include "plan/naming.h"
#include "weights/stored_matrix.h"
#include "weights/weights.h"

namespace fathom {

// Calls visit(parameter, first, values) for every run of values in the files, in the order of the model and
// a bounded number at a time: values[0] is element `first` of the parameter. Each element comes once, those
// of a tensor in its order. Errors as read_parameters().
using ParameterVisit = std::function<void(int32_t parameter, int64_t first, std::span<const float> values)>;
Status visit_parameters(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                        const ParameterVisit& visit);

// Fills `parameter(p)` - float memory for all values of parameter p - from the files. A tensor may be stored
// under its name or any alias; stored more than once, the copies must be equal. Errors: a tensor is missing,
// has another shape, or belongs to no parameter.
Status read_parameters(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                       const std::function<std::span<float>(int32_t parameter)>& parameter);

// The tensors of a model's files, found and compared, of which weights for the engine are made: in the types
// that plan/matrix_types.h gives them where matrices are as `matrices` says. What is stored
// in the wanted type and in one piece is used where it lies in the mapped file; the rest is converted into
// memory: int8 and int4 on disk may be read as float, and float as either.
class StoredWeights {
 public:
  // The plan outlives the object, the weights keep the files. Errors: those of read_parameters().
  static Result<StoredWeights> open(const ModelPlan& plan, NamingScheme scheme,
                                    std::shared_ptr<const WeightFiles> files);

  // Bytes that load() allocates: of what is not used where it lies, and of scales.
  int64_t loading_bytes(const MatrixTypes& matrices) const;
  // Errors: a type that holds no weights, a value that int8 or int4 does not hold where that is wanted.
  Result<Weights> load(const MatrixTypes& matrices, Parallel& parallel) const;

 private:
  StoredWeights(const ModelPlan& plan, std::shared_ptr<const WeightFiles> files)
      : plan_(&plan), files_(std::move(files)) {}
  bool is_borrowed(const StoredMatrix& matrix, const TensorPiece& piece, const MatrixTypes& matrices) const;

  struct Found {
    StoredMatrix matrix;
    std::vector<TensorPiece> pieces;
  };
  const ModelPlan* plan_;
  std::shared_ptr<const WeightFiles> files_;
  std::vector<Found> tensors_;
};

// open() and load() on the calling thread.
Result<Weights> load_weights(const ModelPlan& plan, NamingScheme scheme,
                             const std::shared_ptr<const WeightFiles>& files, const MatrixTypes& matrices);

// The tensors of a checkpoint made of `parameter(p)`, in `type` where the parameter may be bfloat16 and float
// otherwise. `storage` owns the bytes the views point to.
std::vector<TensorView> checkpoint_views(
    const ModelPlan& plan, NamingScheme scheme, DType type,
    const std::function<std::span<const float>(int32_t parameter)>& parameter,
    std::vector<std::vector<uint8_t>>& storage);

}  // namespace fathom
