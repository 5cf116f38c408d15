// Any bytes are either refused with a sentence or give tensors whose data can be read to the last byte.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "io/safetensors.h"
#include "io/tensor_statistics.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = fathom::SafetensorsFile::parse({data, size});
  if (!file.ok()) {
    if (file.error().message.empty()) std::abort();
    return 0;
  }
  uint64_t reached = 0;
  for (const fathom::TensorInfo& info : file->tensors()) {
    if (info.begin != reached || file->find(info.name) != &info) std::abort();
    reached = info.end;
    if (fathom::tensor_statistics(*file, info).elements != info.elements()) std::abort();
  }
  return 0;
}
