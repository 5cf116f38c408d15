// Any bytes are either refused with a sentence or give tensors whose data can be read to the last byte; the
// same bytes as a pickle, which a mutation of a whole archive seldom reaches the inside of, are refused or
// give tensors with as many strides as extents.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>

#include "io/state_dict_pickle.h"
#include "io/tensor_statistics.h"
#include "io/torch_archive.h"

namespace {

void read_archive(std::span<const uint8_t> bytes) {
  const auto file = fathom::TorchArchive::parse(bytes);
  if (!file.ok()) {
    if (file.error().message.empty()) std::abort();
    return;
  }
  for (const fathom::TensorInfo& info : file->tensors()) {
    if (info.begin > info.end || info.end > bytes.size() || file->find(info.name) != &info) std::abort();
    // Many names may share one place: reading each of them to its end would take as long as names times
    // bytes.
    if (info.bytes() > 4096) continue;
    if (fathom::tensor_statistics(*file, info).elements != info.elements()) std::abort();
  }
}

void read_pickle(std::span<const uint8_t> bytes) {
  const auto tensors = fathom::read_state_dict(bytes);
  if (!tensors.ok()) {
    if (tensors.error().message.empty()) std::abort();
    return;
  }
  std::set<std::string> names;
  for (const fathom::PickledTensor& tensor : *tensors) {
    if (tensor.shape.size() != tensor.strides.size() || !names.insert(tensor.name).second) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  read_archive({data, size});
  read_pickle({data, size});
  return 0;
}
