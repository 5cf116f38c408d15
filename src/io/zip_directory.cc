#include "io/zip_directory.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "base/extents.h"
#include "base/sentence.h"

namespace fathom {

namespace {

constexpr uint64_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kEntryBytes = 46, kLocalBytes = 30;
constexpr uint64_t kEndMark = 0x06054b50, kLocatorMark = 0x07064b50, kEnd64Mark = 0x06064b50,
                   kEntryMark = 0x02014b50, kLocalMark = 0x04034b50;
constexpr uint64_t kIn64Bits = 0xffffffff;  // a 32-bit field whose value stands in the zip64 extra field
constexpr uint64_t kZip64Extra = 1;
constexpr uint64_t kEncrypted = 1;  // bit of the flags

// Little-endian number of `width` bytes; the place is known to be in the file.
uint64_t number(std::span<const uint8_t> bytes, uint64_t at, int width) {
  uint64_t value = 0;
  for (int i = width - 1; i >= 0; --i) value = value << 8 | bytes[at + static_cast<uint64_t>(i)];
  return value;
}

std::string_view text(std::span<const uint8_t> bytes, uint64_t at, uint64_t length) {
  return {reinterpret_cast<const char*>(bytes.data()) + at, static_cast<size_t>(length)};
}

struct Directory {
  uint64_t entries = 0, begin = 0, bytes = 0;
};

// Where the directory lies, by the record at the end of the file.
Result<Directory> find_directory(std::span<const uint8_t> file) {
  const uint64_t size = file.size();
  if (size < kEndBytes || number(file, size - kEndBytes, 4) != kEndMark) {
    return invalid("not a zip file, or truncated: its last " + std::to_string(kEndBytes) +
                   " bytes are no end record of a directory");
  }
  uint64_t end = size - kEndBytes;
  Directory directory = {number(file, end + 10, 2), number(file, end + 16, 4), number(file, end + 12, 4)};
  uint64_t disks = number(file, end + 4, 2) | number(file, end + 6, 2);
  uint64_t here = number(file, end + 8, 2);
  if (number(file, end + 20, 2) != 0) return invalid("the zip file has a comment, expected none");
  if (end >= kLocatorBytes && number(file, end - kLocatorBytes, 4) == kLocatorMark) {
    const uint64_t locator = end - kLocatorBytes, record = number(file, locator + 8, 8);
    if (record > locator || locator - record < kEnd64Bytes || number(file, record, 4) != kEnd64Mark) {
      return invalid("the zip64 locator points to byte " + std::to_string(record) +
                     ", where no zip64 end record is");
    }
    end = record;
    disks = number(file, record + 16, 4) | number(file, record + 20, 4);
    here = number(file, record + 24, 8);
    directory = {number(file, record + 32, 8), number(file, record + 48, 8), number(file, record + 40, 8)};
  }
  if (disks != 0 || here != directory.entries) return invalid("the zip file is one of several disks");
  const auto reached = checked_add(directory.begin, directory.bytes);
  if (!reached || *reached != end) {
    return invalid("the zip directory of " + std::to_string(directory.bytes) + " bytes at byte " +
                   std::to_string(directory.begin) + " does not end at its end record, byte " +
                   std::to_string(end));
  }
  if (directory.entries > ZipLimits::kEntries) {
    return invalid("the zip directory has " + std::to_string(directory.entries) +
                   " entries, more than the limit of " + std::to_string(ZipLimits::kEntries));
  }
  return directory;
}

Status check_name(std::string_view name) {
  if (name.size() > ZipLimits::kNameBytes) {
    return invalid("an entry's name has " + std::to_string(name.size()) + " bytes, more than the limit of " +
                   std::to_string(ZipLimits::kNameBytes));
  }
  bool climbs = false;
  for (size_t from = 0; from <= name.size();) {
    const size_t slash = std::min(name.find('/', from), name.size());
    climbs |= name.substr(from, slash - from) == "..";
    from = slash + 1;
  }
  if (name.empty() || name.front() == '/' || climbs || name.find('\\') != std::string_view::npos ||
      name.find('\0') != std::string_view::npos) {
    return invalid("an entry is named " + in_quotes(name) + ", expected a relative path without \"..\"");
  }
  return {};
}

// What one record of the directory says.
struct Record {
  std::string name;
  uint64_t packed = 0, bytes = 0, local = 0;
};

// Replaces the fields that point into the zip64 extra field, in their fixed order.
Status read_extra(std::span<const uint8_t> extra, Record& record) {
  for (uint64_t at = 0; extra.size() - at >= 4;) {
    const uint64_t id = number(extra, at, 2), length = number(extra, at + 2, 2);
    if (length > extra.size() - at - 4) return invalid("an extra field is longer than its record");
    uint64_t place = at + 4;
    const uint64_t end = place + length;
    at = end;
    if (id != kZip64Extra) continue;
    for (uint64_t* field : {&record.bytes, &record.packed, &record.local}) {
      if (*field != kIn64Bits || end - place < 8) continue;
      *field = number(extra, place, 8);
      place += 8;
    }
  }
  return {};
}

// The data of an entry, which follows its local header.
Result<ZipEntry> locate(std::span<const uint8_t> file, const Record& record, uint64_t directory) {
  if (record.local > directory || directory - record.local < kLocalBytes ||
      number(file, record.local, 4) != kLocalMark) {
    return invalid("its local header is said to be at byte " + std::to_string(record.local) +
                   ", where none is");
  }
  const uint64_t name_bytes = number(file, record.local + 26, 2),
                 extra_bytes = number(file, record.local + 28, 2);
  const uint64_t begin = record.local + kLocalBytes + name_bytes + extra_bytes;
  if (begin > directory) return invalid("its local header reaches into the directory");
  if (text(file, record.local + kLocalBytes, name_bytes) != record.name) {
    return invalid("its local header has another name, " +
                   in_quotes(text(file, record.local + kLocalBytes, name_bytes)));
  }
  if (record.bytes > directory - begin) {
    return invalid("has " + std::to_string(record.bytes) + " bytes, and only " +
                   std::to_string(directory - begin) + " lie between it and the directory");
  }
  return ZipEntry{record.name, begin, begin + record.bytes};
}

// Entries in order of their local headers: each ends before the next begins.
struct Located {
  uint64_t local = 0;
  ZipEntry entry;
};

Status check_overlap(const std::vector<Located>& located) {
  for (size_t i = 1; i < located.size(); ++i) {
    if (located[i].local >= located[i - 1].entry.end) continue;
    return invalid("entries " + in_quotes(located[i - 1].entry.name) + " and " +
                   in_quotes(located[i].entry.name) + " overlap");
  }
  return {};
}

Result<Located> read_entry(std::span<const uint8_t> file, const Directory& directory, uint64_t& at) {
  const uint64_t end = directory.begin + directory.bytes;
  if (end - at < kEntryBytes || number(file, at, 4) != kEntryMark) {
    return invalid("the zip directory has no record at byte " + std::to_string(at) + ", expected " +
                   std::to_string(directory.entries) + " records");
  }
  const uint64_t name = number(file, at + 28, 2), extra = number(file, at + 30, 2),
                 comment = number(file, at + 32, 2);
  if (name + extra + comment > end - at - kEntryBytes) {
    return invalid("the record at byte " + std::to_string(at) + " reaches beyond the zip directory");
  }
  Record record = {std::string(text(file, at + kEntryBytes, name)), number(file, at + 20, 4),
                   number(file, at + 24, 4), number(file, at + 42, 4)};
  FATHOM_TRY(check_name(record.name));
  const uint64_t flags = number(file, at + 8, 2), method = number(file, at + 10, 2);
  const auto read = [&]() -> Result<ZipEntry> {
    if ((flags & kEncrypted) != 0) return invalid("is encrypted");
    if (method != 0) {
      return invalid("is compressed (method " + std::to_string(method) + "), expected it stored as it is");
    }
    FATHOM_TRY(read_extra(file.subspan(at + kEntryBytes + name, extra), record));
    if (record.packed != record.bytes) {
      return invalid("is stored in " + std::to_string(record.packed) + " bytes, expected its size of " +
                     std::to_string(record.bytes));
    }
    return locate(file, record, directory.begin);
  };
  Result<ZipEntry> entry = read();
  if (!entry.ok()) return fathom::at("entry " + in_quotes(record.name), entry.error());
  at += kEntryBytes + name + extra + comment;
  return Located{record.local, std::move(entry).value()};
}

}  // namespace

Result<std::vector<ZipEntry>> read_zip_directory(std::span<const uint8_t> file) {
  FATHOM_ASSIGN(const Directory directory, find_directory(file));
  std::vector<Located> located;
  std::unordered_set<std::string> names;
  uint64_t at = directory.begin;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    FATHOM_ASSIGN(Located next, read_entry(file, directory, at));
    if (!names.insert(next.entry.name).second) {
      return invalid("two entries are named " + in_quotes(next.entry.name));
    }
    located.push_back(std::move(next));
  }
  if (at != directory.begin + directory.bytes) {
    return invalid("the zip directory has more than its " + std::to_string(directory.entries) + " records");
  }
  std::sort(located.begin(), located.end(),
            [](const Located& a, const Located& b) { return a.local < b.local; });
  FATHOM_TRY(check_overlap(located));
  std::vector<ZipEntry> entries;
  for (Located& entry : located) entries.push_back(std::move(entry.entry));
  return entries;
}

}  // namespace fathom
