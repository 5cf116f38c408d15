#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "base/extents.h"
#include "base/json.h"
#include "base/sentence.h"

namespace fathom {

namespace {

using nlohmann::json;
using Limits = SafetensorsLimits;

constexpr std::array kReadable = {DType::kF64, DType::kI64, DType::kF32, DType::kI32, DType::kBF16,
                                  DType::kF16, DType::kU16, DType::kU8,  DType::kI8};
// In the format, but nothing here computes with them.
constexpr std::array<std::string_view, 13> kKnown = {
    "BOOL",    "I16", "U32",         "U64",         "C64",     "F8_E4M3", "F8_E5M2",
    "F8_E8M0", "F4",  "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2"};

Result<DType> dtype_from(const json& value) {
  if (!value.is_string()) return invalid("dtype is " + kind_of(value) + ", expected a string");
  const auto& name = value.get_ref<const std::string&>();
  for (const DType dtype : kReadable) {
    if (safetensors_name_of(dtype) == name) return dtype;
  }
  if (std::find(kKnown.begin(), kKnown.end(), name) != kKnown.end()) {
    return not_supported("dtype " + name + " is not supported");
  }
  return invalid("unknown dtype " + in_quotes(name));
}

Result<uint64_t> integer_from(const json& value, const char* what) {
  if (!value.is_number_unsigned()) {
    return invalid(std::string(what) + " is " + kind_of(value) + ", expected a non-negative integer");
  }
  return value.get<uint64_t>();
}

Result<TensorInfo> tensor_from(const std::string& name, const json& entry) {
  if (!entry.is_object()) return invalid("is " + kind_of(entry) + ", expected an object");
  for (const char* member : {"dtype", "shape", "data_offsets"}) {
    if (!entry.contains(member)) return invalid("has no member \"" + std::string(member) + "\"");
  }
  if (entry.size() != 3) {
    for (const auto& [member, unused] : entry.items()) {
      if (member != "dtype" && member != "shape" && member != "data_offsets") {
        return invalid("has the unknown member " + in_quotes(member));
      }
    }
  }
  TensorInfo info;
  info.name = name;
  FATHOM_ASSIGN(info.dtype, dtype_from(entry["dtype"]));
  const json& shape = entry["shape"];
  if (!shape.is_array()) return invalid("shape is " + kind_of(shape) + ", expected an array");
  if (shape.size() > Limits::kRank) {
    return invalid("has " + std::to_string(shape.size()) + " dimensions, more than the limit of " +
                   std::to_string(Limits::kRank));
  }
  for (const json& extent : shape) {
    FATHOM_ASSIGN(const uint64_t value, integer_from(extent, "an extent of the shape"));
    if (value > INT64_MAX) {
      return invalid("extent " + std::to_string(value) + " of the shape exceeds 63 bits");
    }
    info.shape.push_back(static_cast<int64_t>(value));
  }
  const json& offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2) {
    return invalid("data_offsets is not an array of two integers");
  }
  FATHOM_ASSIGN(info.begin, integer_from(offsets[0], "the begin of data_offsets"));
  FATHOM_ASSIGN(info.end, integer_from(offsets[1], "the end of data_offsets"));
  return info;
}

Result<StringMap> metadata_from(const json& value) {
  if (!value.is_object()) return invalid("__metadata__ is " + kind_of(value) + ", expected an object");
  StringMap metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      return invalid("__metadata__ entry " + in_quotes(key) + " is " + kind_of(text) + ", expected a string");
    }
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

// Each tensor begins where the one before it ended, has the bytes its shape needs, and the last ends with the
// file. `tensors` are sorted by begin.
Status check_layout(const std::vector<TensorInfo>& tensors, uint64_t data_bytes) {
  uint64_t reached = 0;
  for (const TensorInfo& info : tensors) {
    const std::string subject = "tensor " + in_quotes(info.name) + ": ";
    std::string range = "[";
    range += std::to_string(info.begin) + ", " + std::to_string(info.end) + ")";
    if (info.end < info.begin) return invalid(subject + "data_offsets " + range + " end before they begin");
    if (info.begin != reached) {
      return invalid(subject + "data_offsets " + range +
                     (info.begin < reached ? " overlap" : " leave a hole after") +
                     " the tensor before, which ends at " + std::to_string(reached));
    }
    const auto elements = checked_elements(info.shape);
    const auto bytes = elements ? checked_mul(*elements, static_cast<uint64_t>(size_of(info.dtype)))
                                : std::optional<uint64_t>();
    if (!bytes) {
      return invalid(subject + "shape " + shape_to_string(info.shape) + " of " +
                     std::string(safetensors_name_of(info.dtype)) + " needs more than 2^64 bytes");
    }
    if (*bytes != info.bytes()) {
      return invalid(subject + "shape " + shape_to_string(info.shape) + " of " +
                     std::string(safetensors_name_of(info.dtype)) + " needs " + std::to_string(*bytes) +
                     " bytes, data_offsets " + range + " give " + std::to_string(info.bytes()));
    }
    reached = info.end;
  }
  if (reached > data_bytes) {
    return invalid("truncated: tensors need " + std::to_string(reached) + " bytes of data, the file has " +
                   std::to_string(data_bytes));
  }
  if (reached < data_bytes) {
    return invalid(std::to_string(data_bytes - reached) + " bytes after the last tensor");
  }
  return {};
}

// The header's text, its length proven against the file.
Result<std::string_view> header_of(std::span<const uint8_t> file) {
  if (file.size() < 8) {
    return invalid("the file has " + std::to_string(file.size()) +
                   " bytes, fewer than the 8 of the header length");
  }
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | file[static_cast<size_t>(i)];
  if (length > Limits::kHeaderBytes) {
    return invalid("header length " + std::to_string(length) + " exceeds the limit of " +
                   std::to_string(Limits::kHeaderBytes));
  }
  if (length > file.size() - 8) {
    return invalid("header length " + std::to_string(length) + " exceeds the " +
                   std::to_string(file.size() - 8) + " bytes that follow it");
  }
  return std::string_view(reinterpret_cast<const char*>(file.data()) + 8, static_cast<size_t>(length));
}

}  // namespace

Status SafetensorsFile::read_header(std::span<const uint8_t> file) {
  FATHOM_ASSIGN(const std::string_view text, header_of(file));
  JsonLimits limits;
  limits.max_bytes = Limits::kHeaderBytes;
  limits.max_depth = Limits::kJsonDepth;
  Result<json> header = parse_json(text, limits);
  if (!header.ok()) return at("header", std::move(header).error());
  if (!header->is_object()) return invalid("the header is " + kind_of(*header) + ", expected an object");
  if (header->size() > Limits::kTensors) {
    return invalid("the header names " + std::to_string(header->size()) +
                   " tensors, more than the limit of " + std::to_string(Limits::kTensors));
  }
  std::vector<TensorInfo> tensors;
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__") {
      FATHOM_ASSIGN(metadata_, metadata_from(entry));
      continue;
    }
    if (name.size() > Limits::kNameBytes) {
      return invalid("a tensor's name has " + std::to_string(name.size()) +
                     " bytes, more than the limit of " + std::to_string(Limits::kNameBytes));
    }
    Result<TensorInfo> info = tensor_from(name, entry);
    if (!info.ok()) return at("tensor " + in_quotes(name), std::move(info).error());
    tensors.push_back(std::move(info).value());
  }
  const auto data = file.subspan(8 + text.size());
  adopt(data, std::move(tensors));
  return check_layout(this->tensors(), data.size());
}

Result<SafetensorsFile> SafetensorsFile::parse(std::span<const uint8_t> bytes) {
  SafetensorsFile file;
  FATHOM_TRY(file.read_header(bytes));
  return file;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  SafetensorsFile file;
  file.path_ = path;
  FATHOM_ASSIGN(file.mapping_, MappedFile::open(path));
  Status status = file.read_header(file.mapping_.bytes());
  if (!status.ok()) return at(path, std::move(status).error());
  return file;
}

}  // namespace fathom
