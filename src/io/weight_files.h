// The tensors of a model, wherever they lie: one file, or shards with an index beside them; safetensors, or
// archives of torch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/safetensors_writer.h"
#include "io/tensor_file.h"

namespace fathom {

// A tensor and the file that holds it. Points into the WeightFiles it came from.
struct StoredTensor {
  const TensorFile* file = nullptr;
  const TensorInfo* info = nullptr;
  std::span<const uint8_t> bytes() const { return file->bytes(*info); }
};

// Whether two names are of one tensor: one place in one file, or equal type, shape and bytes.
bool same_values(const StoredTensor& a, const StoredTensor& b);

class WeightFiles {
 public:
  // `path` is a file or a directory. Files ending in .bin, .pt or .pth are archives of torch, others
  // safetensors. In a directory the first of these counts: model.safetensors, model.safetensors.index.json,
  // pytorch_model.bin, pytorch_model.bin.index.json. Refused: shards named by anything but a plain file name,
  // absent shards, an index that promises a tensor its shard lacks or lacks one that a shard holds, a tensor
  // in two shards.
  static Result<WeightFiles> open(const std::string& path);
  // Whether one of those files is in the directory.
  static bool are_in(const std::string& directory);

  // By file, then by position in it.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const StoredTensor* find(std::string_view name) const;  // nullptr if absent
  Result<StoredTensor> require(std::string_view name) const;
  Result<std::vector<float>> read_as_f32(std::string_view name) const;
  // Stable addresses, one per file opened.
  const std::vector<std::unique_ptr<TensorFile>>& files() const { return files_; }
  const std::string& path() const { return path_; }

 private:
  Status add(const std::string& file_path);
  Status add_shards(const std::string& index_path);
  std::vector<std::unique_ptr<TensorFile>> files_;
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::string path_;
};

constexpr uint64_t kMaxShardBytes = uint64_t{5} << 30;

// Writes the weights into an existing directory: model.safetensors if the data fits `max_shard_bytes`, else
// model-00001-of-0000K.safetensors and the index. Tensors fill shards in the order given; a tensor is never
// split. The directory should be one that becomes visible afterwards (AtomicDirectory).
Status write_weight_files(const std::string& directory, const std::vector<TensorView>& tensors,
                          const StringMap& metadata = {{"format", "pt"}},
                          uint64_t max_shard_bytes = kMaxShardBytes);

// The same of tensors that are made while they are written: `data` hands all bytes of a tensor, in order and
// in pieces of any size, to `append`.
using AppendBytes = std::function<Status(std::span<const uint8_t> bytes)>;
using TensorData = std::function<Status(const std::string& tensor, const AppendBytes& append)>;
struct StreamedTensors {
  std::vector<TensorSpec> specs;
  TensorData data;  // of any of them; refers to what they were made of
};
Status write_weight_files(const std::string& directory, const std::vector<TensorSpec>& tensors,
                          const TensorData& data, const StringMap& metadata = {{"format", "pt"}},
                          uint64_t max_shard_bytes = kMaxShardBytes);

}  // namespace fathom
