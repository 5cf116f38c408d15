#include "data/packed_file_writer.h"

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "data/packed_layout.h"
#include "data/token_layout.h"
#include "data/token_paths.h"

namespace fathom {

namespace layout = packed_layout;

PackedFileWriter::PackedFileWriter(std::string prefix, const PackedFileSettings& settings)
    : prefix_(std::move(prefix)), settings_(settings) {}

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
  return PackedFileWriter(std::move(prefix), settings);
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
  if (pending_.empty()) return {};
  pending_.resize(static_cast<size_t>(settings_.tokens_per_file), settings_.end_of_document);
  return write_file();
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
  FATHOM_TRY(write_file_atomic(packed_file_name(prefix_, files_),
                               {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  ++files_;
  pending_.clear();
  return {};
}

}  // namespace fathom
