#include "io/torch_archive.h"

#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/extents.h"
#include "base/sentence.h"
#include "io/state_dict_pickle.h"
#include "io/zip_directory.h"

namespace fathom {

namespace {

using Entries = std::unordered_map<std::string, ZipEntry>;

// The entries by their names inside the archive's one folder, whose name is that of the file once saved.
Result<Entries> entries_in_folder(std::span<const uint8_t> file) {
  FATHOM_ASSIGN(const std::vector<ZipEntry> listed, read_zip_directory(file));
  Entries entries;
  std::string folder;
  for (const ZipEntry& entry : listed) {
    const size_t slash = entry.name.find('/');
    const std::string own = entry.name.substr(0, slash);
    if (slash == std::string::npos || (!folder.empty() && own != folder)) {
      return invalid("entry " + in_quotes(entry.name) + " is not in the one folder of a torch archive");
    }
    folder = own;
    entries.emplace(entry.name.substr(slash + 1), entry);
  }
  return entries;
}

std::span<const uint8_t> bytes_of(std::span<const uint8_t> file, const ZipEntry& entry) {
  return file.subspan(entry.begin, entry.bytes());
}

// Archives of before the record are little-endian.
Status check_byte_order(std::span<const uint8_t> file, const Entries& entries) {
  const auto found = entries.find("byteorder");
  if (found == entries.end()) return {};
  const auto bytes = bytes_of(file, found->second);
  const std::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (order == "little") return {};
  return invalid("byteorder is " + in_quotes(order) + ", expected \"little\"");
}

// Whether the strides are those of row-major values without gaps. Extents of 1 may have any.
bool is_packed(const PickledTensor& tensor) {
  int64_t expected = 1;
  for (size_t i = tensor.shape.size(); i > 0; --i) {
    if (tensor.shape[i - 1] == 1) continue;
    if (tensor.strides[i - 1] != expected) return false;
    expected *= tensor.shape[i - 1];
  }
  return true;
}

Result<TensorInfo> locate(const PickledTensor& tensor, const Entries& entries) {
  if (tensor.name.size() > TensorFileLimits::kNameBytes) {
    return invalid("its name has " + std::to_string(tensor.name.size()) + " bytes, more than the limit of " +
                   std::to_string(TensorFileLimits::kNameBytes));
  }
  const auto found = entries.find("data/" + std::string(tensor.storage));
  if (found == entries.end()) return invalid("its storage " + in_quotes(tensor.storage) + " is missing");
  const ZipEntry& storage = found->second;
  const auto width = static_cast<uint64_t>(size_of(tensor.dtype));
  const auto needed = checked_mul(tensor.storage_elements, width);
  if (!needed || *needed != storage.bytes()) {
    return invalid("its storage " + in_quotes(tensor.storage) + " has " + std::to_string(storage.bytes()) +
                   " bytes, expected " + std::to_string(tensor.storage_elements) + " elements of " +
                   std::string(safetensors_name_of(tensor.dtype)));
  }
  const auto elements = checked_elements(tensor.shape);
  const auto reached = elements ? checked_add(tensor.offset, *elements) : std::optional<uint64_t>();
  if (!reached || *reached > tensor.storage_elements) {
    return invalid("shape " + shape_to_string(tensor.shape) + " at element " + std::to_string(tensor.offset) +
                   " does not fit its storage of " + std::to_string(tensor.storage_elements) + " elements");
  }
  if (*elements > 0 && !is_packed(tensor)) {
    return not_supported("its strides " + shape_to_string(tensor.strides) + " are not those of a packed " +
                         shape_to_string(tensor.shape));
  }
  const uint64_t begin = storage.begin + tensor.offset * width;
  return TensorInfo{tensor.name, tensor.dtype, tensor.shape, begin, begin + *elements * width};
}

}  // namespace

Status TorchArchive::read(std::span<const uint8_t> file) {
  FATHOM_ASSIGN(const Entries entries, entries_in_folder(file));
  FATHOM_TRY(check_byte_order(file, entries));
  const auto found = entries.find("data.pkl");
  if (found == entries.end()) return invalid("the zip file has no data.pkl: it is not a torch archive");
  Result<std::vector<PickledTensor>> pickled = read_state_dict(bytes_of(file, found->second));
  if (!pickled.ok()) return at("data.pkl", std::move(pickled).error());
  std::vector<TensorInfo> tensors;
  for (const PickledTensor& tensor : *pickled) {
    Result<TensorInfo> info = locate(tensor, entries);
    if (!info.ok()) return at("tensor " + in_quotes(tensor.name), std::move(info).error());
    tensors.push_back(std::move(info).value());
  }
  adopt(file, std::move(tensors));
  return {};
}

Result<TorchArchive> TorchArchive::parse(std::span<const uint8_t> bytes) {
  TorchArchive archive;
  FATHOM_TRY(archive.read(bytes));
  return archive;
}

Result<TorchArchive> TorchArchive::open(const std::string& path) {
  TorchArchive archive;
  archive.path_ = path;
  FATHOM_ASSIGN(archive.mapping_, MappedFile::open(path));
  Status status = archive.read(archive.mapping_.bytes());
  if (!status.ok()) return at(path, std::move(status).error());
  return archive;
}

}  // namespace fathom
