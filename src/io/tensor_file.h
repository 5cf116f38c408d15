// A file of tensors, whatever its format: what each is called, its type and shape, and where its bytes lie in
// the mapped file. Readers (safetensors.h, torch_archive.h) prove every range against the file before a
// TensorFile exists.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/dtype.h"
#include "base/file.h"
#include "base/result.h"

namespace fathom {

using StringMap = std::map<std::string, std::string>;

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;   // no extents: a scalar; an extent of 0: no data
  uint64_t begin = 0, end = 0;  // bytes from the start of the file's data; little-endian, row-major, packed
  uint64_t bytes() const { return end - begin; }
  uint64_t elements() const { return bytes() / static_cast<uint64_t>(size_of(dtype)); }
};

// "[4, 256]".
std::string shape_to_string(std::span<const int64_t> shape);

// "F32", "BF16", ...: the words of safetensors headers, and of messages about tensors.
std::string_view safetensors_name_of(DType dtype);

// What a file of tensors may hold. A file beyond these is refused.
struct TensorFileLimits {
  static constexpr uint64_t kNameBytes = 4096;
  static constexpr uint64_t kRank = 8;
};

class TensorFile {
 public:
  TensorFile(TensorFile&&) noexcept = default;
  TensorFile& operator=(TensorFile&&) noexcept = default;
  virtual ~TensorFile() = default;

  // By position in the file (tensors at one position: by name). Names may share one position in an archive,
  // never in safetensors: they are one tensor then, tied.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* find(std::string_view name) const;  // nullptr if absent
  // The tensor's bytes, little-endian; their address has no particular alignment.
  std::span<const uint8_t> bytes(const TensorInfo& info) const;
  // Text about the file that the file itself holds; empty for formats that have none.
  const StringMap& metadata() const { return metadata_; }
  const std::string& path() const { return path_; }  // empty for bytes in memory

 protected:
  TensorFile() = default;
  // Takes the tensors of `data` over: sorts them and makes them known by name. Names are unique.
  void adopt(std::span<const uint8_t> data, std::vector<TensorInfo> tensors);

  MappedFile mapping_;
  StringMap metadata_;
  std::string path_;

 private:
  std::span<const uint8_t> data_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

// The values of a tensor as float. F32, F16 and BF16 convert exactly; other types are refused.
Result<std::vector<float>> read_as_f32(const TensorFile& file, std::string_view name);
Status copy_as_f32(const TensorFile& file, const TensorInfo& info, std::span<float> out);

}  // namespace fathom
