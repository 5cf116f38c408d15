// The directory of a zip file whose entries are stored as they are (APPNOTE.TXT 6.3.10, sections 4.3.7 to
// 4.3.16), with zip64. Nothing is unpacked: an entry is a range of the file, so a compressed or encrypted one
// is refused. Checksums are not looked at.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace fathom {

struct ZipEntry {
  std::string name;
  uint64_t begin = 0, end = 0;  // its data, bytes from the start of the file
  uint64_t bytes() const { return end - begin; }
};

// What a directory may hold. A file beyond these is refused.
struct ZipLimits {
  static constexpr uint64_t kEntries = 1'000'000;
  static constexpr uint64_t kNameBytes = 4096;
};

// All entries, by position. Every range lies in the file, before the directory, and overlaps no other entry;
// names are relative, without "..", and unique. The file ends with its directory: no comment, no other disk.
Result<std::vector<ZipEntry>> read_zip_directory(std::span<const uint8_t> file);

}  // namespace fathom
