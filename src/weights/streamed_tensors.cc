#include "weights/streamed_tensors.h"

#include <algorithm>
#include <memory>
#include <unordered_map>

namespace fathom {

namespace {

std::span<const uint8_t> bytes_in(std::span<const float> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

int64_t row_elements(const FileTensor& tensor) {
  int64_t elements = 1;
  for (size_t d = 1; d < tensor.shape.size(); ++d) elements *= tensor.shape[d];
  return elements;
}

// Gathers values in the order of the file and hands them on when they are enough.
class Gatherer {
 public:
  explicit Gatherer(const AppendBytes& append) : append_(append) {}

  Status add(std::span<const float> values, int64_t row) {
    const int64_t most = std::max<int64_t>(1, kValuesAtATime / row) * row;
    while (!values.empty()) {
      const auto room = static_cast<size_t>(most) - gathered_.size();
      const std::span<const float> part = values.first(std::min(room, values.size()));
      gathered_.insert(gathered_.end(), part.begin(), part.end());
      values = values.subspan(part.size());
      if (gathered_.size() == static_cast<size_t>(most)) FATHOM_TRY(flush());
    }
    return {};
  }
  Status flush() {
    FATHOM_TRY(append_(bytes_in(gathered_)));
    gathered_.clear();
    return {};
  }

 private:
  const AppendBytes& append_;
  std::vector<float> gathered_;
};

}  // namespace

StreamedTensors checkpoint_stream(const ModelPlan& plan, NamingScheme scheme,
                                  std::function<std::span<const float>(int32_t parameter)> parameter) {
  StreamedTensors stream;
  auto by_name = std::make_shared<std::unordered_map<std::string, FileTensor>>();
  for (FileTensor& tensor : checkpoint_tensors(plan, scheme)) {
    stream.specs.push_back({tensor.name, DType::kF32, tensor.shape});
    std::ranges::sort(tensor.pieces, {}, &TensorPiece::file_row);
    by_name->emplace(tensor.name, std::move(tensor));
  }
  stream.data = [by_name, parameter = std::move(parameter)](const std::string& name,
                                                            const AppendBytes& append) -> Status {
    const FileTensor& tensor = by_name->at(name);
    const int64_t row = row_elements(tensor);
    const auto values_of = [&](const TensorPiece& piece) {
      return parameter(piece.param)
          .subspan(static_cast<size_t>(piece.param_row * row), static_cast<size_t>(piece.rows * row));
    };
    if (tensor.pieces.size() == 1) return append(bytes_in(values_of(tensor.pieces.front())));
    Gatherer gatherer(append);
    for (const TensorPiece& piece : tensor.pieces) FATHOM_TRY(gatherer.add(values_of(piece), row));
    return gatherer.flush();
  };
  return stream;
}

}  // namespace fathom
