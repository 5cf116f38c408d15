#include "data/packed_file_writer.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "data/packed_layout.h"
#include "data/token_layout.h"
#include "data/token_paths.h"

namespace fathom {

namespace layout = packed_layout;
namespace fs = std::filesystem;

namespace {

std::string folder_of(const std::string& prefix) {
  const std::string parent = fs::path(prefix).parent_path().string();
  return parent.empty() ? "." : parent;
}

// Files of an earlier packing would be overwritten, or taken for part of this one.
Status check_no_files(const std::string& prefix) {
  const std::string stem = fs::path(prefix).filename().string() + "_";
  constexpr std::string_view kNumber = "0000000000", kEnding = ".bin";
  std::error_code code;
  std::vector<std::string> found;
  for (fs::directory_iterator entry(folder_of(prefix), code), end; !code && entry != end;
       entry.increment(code)) {
    const std::string name = entry->path().filename().string();
    if (name.size() != stem.size() + kNumber.size() + kEnding.size() || !name.starts_with(stem) ||
        !name.ends_with(kEnding))
      continue;
    const std::string number = name.substr(stem.size(), kNumber.size());
    if (std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; }))
      found.push_back(packed_file_name(prefix, std::stoll(number)));
  }
  if (code && code != std::errc::no_such_file_or_directory)
    return io_error(folder_of(prefix) + ": cannot list: " + code.message());
  if (found.empty()) return {};
  return invalid(*std::ranges::min_element(found) + " exists already; choose another name for the files");
}

}  // namespace

PackedFileWriter::PackedFileWriter(std::string prefix, const PackedFileSettings& settings,
                                   AtomicDirectory temporary)
    : prefix_(std::move(prefix)), settings_(settings), temporary_(std::move(temporary)) {}

Result<PackedFileWriter> PackedFileWriter::create(std::string prefix, const PackedFileSettings& settings) {
  if (settings.vocab_size < 1 || settings.vocab_size > token_layout::kMaxVocabSize) {
    return invalid("vocabulary of " + std::to_string(settings.vocab_size) + " entries, expected 1 to " +
                   std::to_string(token_layout::kMaxVocabSize));
  }
  if (settings.end_of_document < 0 || settings.end_of_document >= settings.vocab_size) {
    return invalid("end of document is id " + std::to_string(settings.end_of_document) +
                   " in a vocabulary of " + std::to_string(settings.vocab_size));
  }
  if (settings.tokens_per_file < 1 || settings.tokens_per_file > kMostTokensPerFile) {
    return invalid("packed files of " + std::to_string(settings.tokens_per_file) + " tokens, expected 1 to " +
                   std::to_string(kMostTokensPerFile));
  }
  FATHOM_TRY(check_no_files(prefix));
  FATHOM_ASSIGN(AtomicDirectory temporary, AtomicDirectory::begin(prefix + "_packing"));
  return PackedFileWriter(std::move(prefix), settings, std::move(temporary));
}

Status PackedFileWriter::add_document(std::span<const int32_t> ids) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < settings_.vocab_size) continue;
    return invalid("token " + std::to_string(i) + " of document " + std::to_string(documents_) + " is id " +
                   std::to_string(ids[i]) + ", outside the vocabulary of " +
                   std::to_string(settings_.vocab_size));
  }
  for (int32_t id : ids) FATHOM_TRY(put(id));
  ++documents_;
  return put(settings_.end_of_document);
}

Status PackedFileWriter::put(int32_t id) {
  pending_.push_back(id);
  ++tokens_;
  return static_cast<int64_t>(pending_.size()) == settings_.tokens_per_file ? write_file() : Status();
}

Status PackedFileWriter::finish() {
  if (!pending_.empty()) {
    pending_.resize(static_cast<size_t>(settings_.tokens_per_file), settings_.end_of_document);
    FATHOM_TRY(write_file());
  }
  for (int64_t file = files_ - 1; file >= 0; --file) {
    Status placed = rename_path(temporary_name(file), packed_file_name(prefix_, file));
    if (placed.ok()) continue;
    for (int64_t other = file + 1; other < files_; ++other)
      static_cast<void>(remove_tree(packed_file_name(prefix_, other)));
    return placed;
  }
  Status flushed = sync_directory(folder_of(prefix_));
  if (!flushed.ok()) return at(prefix_ + "_*.bin are in place, but", std::move(flushed).error());
  return {};
}

std::string PackedFileWriter::temporary_name(int64_t file) const {
  return temporary_.path() + "/" + std::to_string(file);
}

Status PackedFileWriter::write_file() {
  const bool narrow = settings_.vocab_size < layout::kLeastWideVocabSize;
  const size_t width = narrow ? 2 : 4;
  std::vector<uint8_t> bytes(layout::kHeaderBytes + pending_.size() * width);
  std::copy(layout::kMagic.begin(), layout::kMagic.end(), bytes.begin());
  token_layout::store(bytes, layout::kVersionAt, layout::kVersion);
  bytes[layout::kTypeAt] = narrow ? layout::kUInt16 : layout::kInt32;
  token_layout::store(bytes, layout::kTokensAt, static_cast<uint64_t>(pending_.size()));
  for (size_t i = 0; i < pending_.size(); ++i) {
    const size_t at = layout::kHeaderBytes + i * width;
    if (narrow) {
      token_layout::store(bytes, at, static_cast<uint16_t>(pending_[i]));
    } else {
      token_layout::store(bytes, at, static_cast<uint32_t>(pending_[i]));
    }
  }
  FATHOM_ASSIGN(OutputFile file, OutputFile::create(temporary_name(files_)));
  FATHOM_TRY(file.write(bytes));
  FATHOM_TRY(file.sync());
  FATHOM_TRY(file.close());
  ++files_;
  pending_.clear();
  return {};
}

}  // namespace fathom
