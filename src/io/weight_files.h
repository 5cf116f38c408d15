// The tensors of a model, wherever they lie: one safetensors file, or shards with
// model.safetensors.index.json beside them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/safetensors.h"
#include "io/safetensors_writer.h"

namespace fathom {

// A tensor and the file that holds it. Points into the WeightFiles it came from.
struct StoredTensor {
  const SafetensorsFile* file = nullptr;
  const TensorInfo* info = nullptr;
  std::span<const uint8_t> bytes() const { return file->bytes(*info); }
};

class WeightFiles {
 public:
  // `path` is a .safetensors file or a directory with model.safetensors or, without it,
  // model.safetensors.index.json. Refused: shards named by anything but a plain file name, absent shards, an
  // index that promises a tensor its shard lacks or lacks one that a shard holds, a tensor in two shards.
  static Result<WeightFiles> open(const std::string& path);

  // By file, then by position in it.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const StoredTensor* find(std::string_view name) const;  // nullptr if absent
  Result<StoredTensor> require(std::string_view name) const;
  Result<std::vector<float>> read_as_f32(std::string_view name) const;
  // Stable addresses, one per file opened.
  const std::vector<std::unique_ptr<SafetensorsFile>>& files() const { return files_; }
  const std::string& path() const { return path_; }

 private:
  Status add(const std::string& file_path);
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::string path_;
};

// Writes the weights into an existing directory: model.safetensors if the data fits `max_shard_bytes`, else
// model-00001-of-0000K.safetensors and the index. Tensors fill shards in the order given; a tensor is never
// split. The directory should be one that becomes visible afterwards (AtomicDirectory).
Status write_weight_files(const std::string& directory, const std::vector<TensorView>& tensors,
                          const StringMap& metadata = {{"format", "pt"}},
                          uint64_t max_shard_bytes = uint64_t{5} << 30);

}  // namespace fathom
