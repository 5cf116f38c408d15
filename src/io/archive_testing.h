// Small archives of torch for tests, built byte by byte as torch.save writes them, so that a test can change
// any of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::testing_archive {

inline std::string number(uint64_t value, int width) {
  std::string out;
  for (int i = 0; i < width; ++i) {
    out += static_cast<char>(i < 8 ? value >> (8 * i) & 0xff : 0);
  }
  return out;
}

// ------------------------------------------------------------------------------------------- the pickle

inline std::string text(std::string_view characters) {
  return std::string("X").append(number(characters.size(), 4)) + std::string(characters);
}

inline std::string integer(uint64_t value) { return std::string("J").append(number(value, 4)); }

inline std::string integers(const std::vector<uint64_t>& values) {
  std::string out = "(";
  for (const uint64_t value : values) out += integer(value);
  return out + "t";
}

inline std::string global(std::string_view module, std::string_view name) {
  return std::string("c").append(module) + "\n" + std::string(name) + "\n";
}

struct Tensor {
  std::string name, storage;
  uint64_t storage_elements = 0;
  std::vector<uint64_t> shape, strides;
  uint64_t offset = 0;
  std::string type = "FloatStorage";
};

inline std::string storage_id(const Tensor& tensor) {
  return std::string("(").append(text("storage")) + global("torch", tensor.type) + text(tensor.storage) +
         text("cpu") + integer(tensor.storage_elements) + "tQ";
}

// A call of _rebuild_tensor_v2.
inline std::string rebuilt(const Tensor& tensor) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + storage_id(tensor) + integer(tensor.offset) +
         integers(tensor.shape) + integers(tensor.strides) + "\x89" + global("collections", "OrderedDict") +
         ")RtR";
}

// The pickle of a dict.
inline std::string state_dict(const std::vector<Tensor>& tensors) {
  std::string out = "\x80\x02}(";
  for (const Tensor& tensor : tensors) out += text(tensor.name) + rebuilt(tensor);
  return out + "u.";
}

// ---------------------------------------------------------------------------------------------- the zip

struct Entry {
  std::string name, data;
};

struct ZipParts {
  std::string entries, directory, end;
  std::string joined() const { return entries + directory + end; }
};

inline std::string zip_end(uint64_t count, uint64_t directory_bytes, uint64_t directory_begin) {
  return "PK\5\6" + number(0, 4) + number(count, 2) + number(count, 2) + number(directory_bytes, 4) +
         number(directory_begin, 4) + number(0, 2);
}

// Sizes stand in the directory alone, as torch leaves them.
inline ZipParts zip_parts(const std::vector<Entry>& entries) {
  ZipParts zip;
  for (const Entry& entry : entries) {
    zip.directory += "PK\1\2" + number(0, 4) + number(0x0808, 2) + number(0, 2) + number(0, 4) +
                     number(0, 4) + number(entry.data.size(), 4) + number(entry.data.size(), 4) +
                     number(entry.name.size(), 2) + number(0, 12) + number(zip.entries.size(), 4) +
                     entry.name;
    zip.entries += "PK\3\4" + number(0, 2) + number(0x0808, 2) + number(0, 2) + number(0, 4) + number(0, 12) +
                   number(entry.name.size(), 2) + number(0, 2) + entry.name + entry.data;
  }
  zip.end = zip_end(entries.size(), zip.directory.size(), zip.entries.size());
  return zip;
}

inline std::string zip(const std::vector<Entry>& entries) { return zip_parts(entries).joined(); }

// The same zip with its end said in 64 bits.
inline std::string zip64(const std::vector<Entry>& entries) {
  const ZipParts parts = zip_parts(entries);
  const uint64_t begin = parts.entries.size(), end = begin + parts.directory.size();
  const std::string record = "PK\6\6" + number(44, 8) + number(0x2d031e, 4) + number(0, 8) +
                             number(entries.size(), 8) + number(entries.size(), 8) +
                             number(parts.directory.size(), 8) + number(begin, 8);
  const std::string locator = "PK\6\7" + number(0, 4) + number(end, 8) + number(1, 4);
  return parts.entries + parts.directory + record + locator + parts.end;
}

// The entries of an archive in the folder `model`; storages have their keys 0, 1, ...
inline std::vector<Entry> entries_of(const std::string& pickle, const std::vector<std::string>& storages) {
  std::vector<Entry> entries = {{"model/data.pkl", pickle}, {"model/byteorder", "little"}};
  for (size_t i = 0; i < storages.size(); ++i)
    entries.push_back({"model/data/" + std::to_string(i), storages[i]});
  entries.push_back({"model/version", "3\n"});
  return entries;
}

inline std::string archive(const std::string& pickle, const std::vector<std::string>& storages) {
  return zip(entries_of(pickle, storages));
}

// Two names of one storage of six floats 0, 1, ..., and a vector inside it.
inline std::vector<Tensor> small_tensors() {
  return {{"a", "0", 6, {2, 3}, {3, 1}}, {"tied", "0", 6, {2, 3}, {3, 1}}, {"part", "0", 6, {2}, {1}, 4}};
}
inline std::string small_storage() {
  std::string out;
  for (const uint64_t bits : {0x00000000, 0x3f800000, 0x40000000, 0x40400000, 0x40800000, 0x40a00000})
    out += number(bits, 4);
  return out;
}

}  // namespace fathom::testing_archive
