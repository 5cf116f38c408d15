#include "io/weight_files.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/extents.h"
#include "base/sentence.h"
#include "io/safetensors.h"
#include "io/shard_index.h"
#include "io/torch_archive.h"

namespace fathom {

namespace {

// Where the weights of a directory may lie, in the order of preference.
struct Layout {
  const char* single;
  const char* index;
};
constexpr std::array<Layout, 2> kLayouts = {{{"model.safetensors", "model.safetensors.index.json"},
                                             {"pytorch_model.bin", "pytorch_model.bin.index.json"}}};
// What is written.
constexpr const char* kSingle = kLayouts[0].single;
constexpr const char* kIndex = kLayouts[0].index;

bool exists(const std::string& path) {
  std::error_code code;
  return std::filesystem::exists(path, code);
}

template <class File>
Result<std::unique_ptr<TensorFile>> open_as(const std::string& path) {
  FATHOM_ASSIGN(File file, File::open(path));
  return std::unique_ptr<TensorFile>(std::make_unique<File>(std::move(file)));
}

Result<std::unique_ptr<TensorFile>> open_file(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  const bool archive = extension == ".bin" || extension == ".pt" || extension == ".pth";
  return archive ? open_as<TorchArchive>(path) : open_as<SafetensorsFile>(path);
}

std::string shard_name(size_t number, size_t count) {
  const auto digits = [](size_t n) {
    const std::string text = std::to_string(n);
    return std::string(text.size() < 5 ? 5 - text.size() : 0, '0') + text;
  };
  return "model-" + digits(number) + "-of-" + digits(count) + ".safetensors";
}

}  // namespace

Status WeightFiles::add(const std::string& file_path) {
  FATHOM_ASSIGN(std::unique_ptr<TensorFile> opened, open_file(file_path));
  const TensorFile* file = files_.emplace_back(std::move(opened)).get();
  for (const TensorInfo& info : file->tensors()) {
    const auto [slot, added] = index_.emplace(info.name, tensors_.size());
    if (!added) {
      return invalid(path_ + ": tensor " + in_quotes(info.name) + " is in two shards, " +
                     std::filesystem::path(tensors_[slot->second].file->path()).filename().string() +
                     " and " + std::filesystem::path(file_path).filename().string());
    }
    tensors_.push_back({file, &info});
  }
  return {};
}

Status WeightFiles::add_shards(const std::string& index) {
  FATHOM_ASSIGN(const ShardIndex promised, read_shard_index(index));
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : promised) shards.insert(shard);
  for (const std::string& shard : shards) {
    if (!exists(path_ + "/" + shard)) return not_found(index + ": names the absent file " + in_quotes(shard));
    FATHOM_TRY(add(path_ + "/" + shard));
  }
  for (const auto& [tensor, shard] : promised) {
    const StoredTensor* stored = find(tensor);
    if (stored == nullptr || stored->file->path() != path_ + "/" + shard) {
      return invalid(index + ": shard " + in_quotes(shard) + " lacks the tensor " + in_quotes(tensor) +
                     " promised to be there");
    }
  }
  for (const StoredTensor& stored : tensors_) {
    if (!promised.contains(stored.info->name)) {
      return invalid(stored.file->path() + ": holds the tensor " + in_quotes(stored.info->name) + ", which " +
                     std::filesystem::path(index).filename().string() + " does not name");
    }
  }
  return {};
}

Result<WeightFiles> WeightFiles::open(const std::string& path) {
  WeightFiles weights;
  weights.path_ = path;
  std::error_code code;
  if (!std::filesystem::is_directory(path, code)) {
    FATHOM_TRY(weights.add(path));
    return weights;
  }
  for (const Layout& layout : kLayouts) {
    const std::string single = path + "/" + layout.single, index = path + "/" + layout.index;
    if (exists(single)) {
      FATHOM_TRY(weights.add(single));
      return weights;
    }
    if (exists(index)) {
      FATHOM_TRY(weights.add_shards(index));
      return weights;
    }
  }
  return not_found(path + ": no weights are there, neither " + kSingle + " nor " + kLayouts[1].single +
                   " nor an index of shards");
}

bool WeightFiles::are_in(const std::string& directory) {
  return std::ranges::any_of(kLayouts, [&](const Layout& layout) {
    return exists(directory + "/" + layout.single) || exists(directory + "/" + layout.index);
  });
}

bool same_values(const StoredTensor& a, const StoredTensor& b) {
  if (a.info->dtype != b.info->dtype || a.info->shape != b.info->shape) return false;
  const auto left = a.bytes(), right = b.bytes();
  return left.data() == right.data() || std::memcmp(left.data(), right.data(), left.size()) == 0;
}

const StoredTensor* WeightFiles::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

Result<StoredTensor> WeightFiles::require(std::string_view name) const {
  const StoredTensor* stored = find(name);
  if (stored == nullptr) return not_found(path_ + ": no tensor " + in_quotes(name));
  return *stored;
}

Result<std::vector<float>> WeightFiles::read_as_f32(std::string_view name) const {
  FATHOM_ASSIGN(const StoredTensor stored, require(name));
  return fathom::read_as_f32(*stored.file, name);
}

Status write_weight_files(const std::string& directory, const std::vector<TensorView>& tensors,
                          const StringMap& metadata, uint64_t max_shard_bytes) {
  std::vector<TensorSpec> specs;
  std::unordered_map<std::string_view, std::span<const uint8_t>> bytes;
  for (const TensorView& tensor : tensors) {
    specs.push_back(tensor.spec);
    bytes[tensor.spec.name] = tensor.bytes;
  }
  return write_weight_files(
      directory, specs,
      [&](const std::string& tensor, const AppendBytes& append) { return append(bytes.at(tensor)); },
      metadata, max_shard_bytes);
}

Status write_weight_files(const std::string& directory, const std::vector<TensorSpec>& tensors,
                          const TensorData& data, const StringMap& metadata, uint64_t max_shard_bytes) {
  std::vector<std::vector<TensorSpec>> shards(1);
  std::set<std::string_view> names;
  uint64_t filled = 0, total = 0;
  for (const TensorSpec& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return invalid(directory + ": two tensors are named " + in_quotes(tensor.name));
    }
    FATHOM_ASSIGN(const uint64_t bytes, bytes_of(tensor));
    if (!shards.back().empty() && filled + bytes > max_shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(tensor);
    filled += bytes;
    total += bytes;
  }
  nlohmann::json map = nlohmann::json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shards.size() == 1 ? kSingle : shard_name(i + 1, shards.size());
    FATHOM_ASSIGN(SafetensorsWriter writer,
                  SafetensorsWriter::create(directory + "/" + name, shards[i], metadata));
    const AppendBytes append = [&](std::span<const uint8_t> bytes) { return writer.append(bytes); };
    for (const TensorInfo& tensor : std::vector<TensorInfo>(writer.order()))
      FATHOM_TRY(data(tensor.name, append));
    FATHOM_TRY(writer.finish());
    for (const TensorSpec& tensor : shards[i]) map[tensor.name] = name;
  }
  if (shards.size() == 1) return {};
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  return write_file_atomic(directory + "/" + kIndex, index.dump(2) + "\n");
}

}  // namespace fathom
