#include "io/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/check.h"
#include "base/extents.h"

namespace fathom {

namespace {

// Text that cannot be stored as UTF-8 must not reach the file, nor an exception the caller.
Result<std::string> dump(const nlohmann::ordered_json& value) {
  try {
    return value.dump();
  } catch (const nlohmann::json::exception&) {
    return invalid("a tensor name or metadata entry is not valid UTF-8");
  }
}

Status check_name(const std::string& name) {
  if (name == "__metadata__") return invalid("a tensor cannot be named __metadata__");
  if (name.size() > SafetensorsLimits::kNameBytes) {
    return invalid("a tensor's name has " + std::to_string(name.size()) + " bytes, more than the limit of " +
                   std::to_string(SafetensorsLimits::kNameBytes));
  }
  return {};
}

bool written_before(const TensorSpec& a, const TensorSpec& b) {
  if (size_of(a.dtype) != size_of(b.dtype)) return size_of(a.dtype) > size_of(b.dtype);
  return a.name < b.name;
}

// Places the tensors one after another. `specs` are sorted.
Result<std::vector<TensorInfo>> place(const std::vector<TensorSpec>& specs) {
  std::vector<TensorInfo> placed;
  uint64_t reached = 0;
  for (const TensorSpec& spec : specs) {
    FATHOM_TRY(check_name(spec.name));
    if (spec.shape.size() > SafetensorsLimits::kRank) {
      return invalid("tensor \"" + spec.name + "\" has " + std::to_string(spec.shape.size()) +
                     " dimensions, more than the limit of " + std::to_string(SafetensorsLimits::kRank));
    }
    FATHOM_ASSIGN(const uint64_t bytes, bytes_of(spec));
    const auto end = checked_add(reached, bytes);
    if (!end) return invalid("the tensors need more than 2^64 bytes");
    placed.push_back({spec.name, spec.dtype, spec.shape, reached, *end});
    reached = *end;
  }
  return placed;
}

Result<std::string> header_text(const std::vector<TensorInfo>& tensors, const StringMap& metadata) {
  // Names are compared once, in order, instead of through a map that looks up each.
  std::vector<std::string_view> names;
  for (const TensorInfo& info : tensors) names.push_back(info.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) return invalid("two tensors are named \"" + std::string(*twice) + "\"");

  std::string text = "{";
  if (!metadata.empty()) {
    FATHOM_ASSIGN(const std::string map, dump(nlohmann::ordered_json(metadata)));
    text += "\"__metadata__\":" + map;
  }
  for (const TensorInfo& info : tensors) {
    FATHOM_ASSIGN(const std::string name, dump(nlohmann::ordered_json(info.name)));
    const nlohmann::ordered_json entry = {{"dtype", safetensors_name_of(info.dtype)},
                                          {"shape", info.shape},
                                          {"data_offsets", {info.begin, info.end}}};
    text += (text.size() > 1 ? "," : "") + name + ":" + entry.dump();
  }
  text += "}";
  const auto prefix = static_cast<int64_t>(sizeof(uint64_t));
  text.resize(static_cast<size_t>(round_up(prefix + static_cast<int64_t>(text.size()), 64) - prefix), ' ');
  if (text.size() > SafetensorsLimits::kHeaderBytes) return invalid("the header exceeds the limit of 100 MB");
  return text;
}

}  // namespace

Result<uint64_t> bytes_of(const TensorSpec& spec) {
  const auto elements = checked_elements(spec.shape);
  const auto bytes = elements ? checked_mul(*elements, static_cast<uint64_t>(size_of(spec.dtype)))
                              : std::optional<uint64_t>();
  if (!bytes) {
    return invalid("tensor \"" + spec.name + "\": shape " + shape_to_string(spec.shape) +
                   " is negative or needs more than 2^64 bytes");
  }
  return *bytes;
}

Result<SafetensorsWriter> SafetensorsWriter::create(const std::string& path, std::vector<TensorSpec> tensors,
                                                    const StringMap& metadata) {
  std::sort(tensors.begin(), tensors.end(), written_before);
  Result<std::vector<TensorInfo>> order = place(tensors);
  if (!order.ok()) return at(path, std::move(order).error());
  Result<std::string> header = header_text(*order, metadata);
  if (!header.ok()) return at(path, std::move(header).error());

  FATHOM_ASSIGN(AtomicFile file, AtomicFile::create(path));
  std::string prefix;
  for (int i = 0; i < 8; ++i) prefix += static_cast<char>(header->size() >> (8 * i) & 0xff);
  FATHOM_TRY(file.write(prefix + *header));
  return SafetensorsWriter(std::move(file), std::move(order).value());
}

Status SafetensorsWriter::append(std::span<const uint8_t> bytes) {
  const uint64_t total = order_.empty() ? 0 : order_.back().end;
  FATHOM_CHECK(bytes.size() <= total - written_, file_.path() + ": more data than the header promises");
  if (bytes.empty()) return {};
  FATHOM_TRY(file_.write(bytes));
  written_ += bytes.size();
  return {};
}

Status SafetensorsWriter::finish() {
  const uint64_t total = order_.empty() ? 0 : order_.back().end;
  FATHOM_CHECK(written_ == total, file_.path() + ": " + std::to_string(written_) +
                                      " bytes of data, the header promises " + std::to_string(total));
  return file_.commit();
}

Status write_safetensors(const std::string& path, const std::vector<TensorView>& tensors,
                         const StringMap& metadata) {
  std::vector<TensorSpec> specs;
  std::unordered_map<std::string_view, std::span<const uint8_t>> data;
  for (const TensorView& tensor : tensors) {
    FATHOM_ASSIGN(const uint64_t bytes, bytes_of(tensor.spec));
    FATHOM_CHECK(bytes == tensor.bytes.size(), tensor.spec.name + ": data of " +
                                                   std::to_string(tensor.bytes.size()) + " bytes for shape " +
                                                   shape_to_string(tensor.spec.shape));
    specs.push_back(tensor.spec);
    data.emplace(tensor.spec.name, tensor.bytes);
  }
  FATHOM_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(path, std::move(specs), metadata));
  for (const TensorInfo& info : writer.order()) FATHOM_TRY(writer.append(data.at(info.name)));
  return writer.finish();
}

}  // namespace fathom
