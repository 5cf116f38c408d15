// safetensors: 8 bytes little-endian header length N, N bytes of JSON, then the data, row-major and packed.
// The reader trusts nothing: every offset is proven against the length of the file before any tensor can be
// reached, tensors neither overlap nor leave holes, and nothing follows the last of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "io/tensor_file.h"

namespace fathom {

// What a safetensors header may hold. A file beyond these is refused.
struct SafetensorsLimits : TensorFileLimits {
  static constexpr uint64_t kHeaderBytes = 100'000'000;
  static constexpr uint64_t kTensors = 1'000'000;
  static constexpr int kJsonDepth = 8;
};

class SafetensorsFile : public TensorFile {
 public:
  // Maps the file read-only and checks all of its header. The data is not read. The file must not shrink
  // while the object lives (files are replaced by rename, never rewritten in place).
  static Result<SafetensorsFile> open(const std::string& path);

  // The same checks over bytes in memory, which must outlive the object; errors carry no path.
  static Result<SafetensorsFile> parse(std::span<const uint8_t> bytes);

 private:
  SafetensorsFile() = default;
  Status read_header(std::span<const uint8_t> file);
};

}  // namespace fathom
