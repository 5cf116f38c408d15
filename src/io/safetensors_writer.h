// Writing safetensors: atomic (see atomic_file.h) and the same bytes for the same tensors. Tensors are
// ordered by size of element, largest first, then by name, so that each starts aligned for its type; the
// header is padded with spaces so that the data starts at a cache line, where a mapped file is read fastest.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/atomic_file.h"
#include "io/safetensors.h"

namespace fathom {

// What is known about a tensor before its data: enough for the header.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
};

// A tensor in memory. `bytes` are little-endian, packed, row-major, and not owned.
struct TensorView {
  TensorSpec spec;
  std::span<const uint8_t> bytes;
};

// The view of a vector, span or array, which must outlive it.
template <class Values>
TensorView view_of(std::string name, DType dtype, std::vector<int64_t> shape, const Values& values) {
  const std::span all(values);
  return {{std::move(name), dtype, std::move(shape)},
          {reinterpret_cast<const uint8_t*>(all.data()), all.size_bytes()}};
}

// Bytes of data a tensor takes; an error if the shape does not fit 64 bits.
Result<uint64_t> bytes_of(const TensorSpec& spec);

// Writes tensors whose data comes piece by piece, for models that should not be in memory twice.
class SafetensorsWriter {
 public:
  // Writes the header. `metadata` usually holds {"format": "pt"}, which some readers demand.
  static Result<SafetensorsWriter> create(const std::string& path, std::vector<TensorSpec> tensors,
                                          const StringMap& metadata);
  // The order in which data is expected.
  const std::vector<TensorInfo>& order() const { return order_; }
  // The next bytes of the data buffer, in pieces of any size.
  Status append(std::span<const uint8_t> bytes);
  // Error if bytes are missing. The file appears under its name only here.
  Status finish();

 private:
  SafetensorsWriter(AtomicFile file, std::vector<TensorInfo> order)
      : file_(std::move(file)), order_(std::move(order)) {}
  AtomicFile file_;
  std::vector<TensorInfo> order_;
  uint64_t written_ = 0;
};

Status write_safetensors(const std::string& path, const std::vector<TensorView>& tensors,
                         const StringMap& metadata = {{"format", "pt"}});

}  // namespace fathom
