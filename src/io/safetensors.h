// safetensors: 8 bytes little-endian header length N, N bytes of JSON, then the data, row-major and packed.
// The reader trusts nothing: every offset is proven against the length of the file before any tensor can be
// reached, tensors neither overlap nor leave holes, and nothing follows the last of them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

// The format's own word: "F32", "BF16", ...
std::string_view safetensors_name_of(DType dtype);

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;   // no extents: a scalar; an extent of 0: no data
  uint64_t begin = 0, end = 0;  // bytes from the start of the data buffer
  uint64_t bytes() const { return end - begin; }
  uint64_t elements() const { return bytes() / static_cast<uint64_t>(size_of(dtype)); }
};

// "[4, 256]".
std::string shape_to_string(std::span<const int64_t> shape);

// What a safetensors header may hold. A file beyond these is refused.
struct SafetensorsLimits {
  static constexpr uint64_t kHeaderBytes = 100'000'000;
  static constexpr uint64_t kTensors = 1'000'000;
  static constexpr uint64_t kNameBytes = 4096;
  static constexpr uint64_t kRank = 8;
  static constexpr int kJsonDepth = 8;
};

class SafetensorsFile {
 public:
  // Maps the file read-only and checks all of its header. The data is not read. The file must not shrink
  // while the object lives (files are replaced by rename, never rewritten in place).
  static Result<SafetensorsFile> open(const std::string& path);

  // The same checks over bytes in memory, which must outlive the object; errors carry no path.
  static Result<SafetensorsFile> parse(std::span<const uint8_t> bytes);

  // By position in the data buffer (tensors without data: by name among those at one position).
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* find(std::string_view name) const;  // nullptr if absent
  // The tensor's bytes, little-endian; their address has no particular alignment.
  std::span<const uint8_t> bytes(const TensorInfo& info) const;
  const StringMap& metadata() const { return metadata_; }
  const std::string& path() const { return path_; }

 private:
  Status read_header(std::span<const uint8_t> file);

  MappedFile mapping_;
  std::span<const uint8_t> data_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
  StringMap metadata_;
  std::string path_;
};

// The values of a tensor as float. F32, F16 and BF16 convert exactly; other types are refused.
Result<std::vector<float>> read_as_f32(const SafetensorsFile& file, std::string_view name);
Status copy_as_f32(const SafetensorsFile& file, const TensorInfo& info, std::span<float> out);

}  // namespace fathom
