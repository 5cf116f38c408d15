#include "data/token_file_writer.h"

#include <array>

#include "base/check.h"
#include "data/token_layout.h"

namespace fathom {

namespace {

namespace layout = token_layout;
constexpr size_t kBufferBytes = size_t{1} << 20;

}  // namespace

Result<TokenFileWriter> TokenFileWriter::create(const std::string& path, const TokenFileSettings& settings) {
  if (settings.vocab_size < 1 || settings.vocab_size > layout::kMaxVocabSize) {
    return invalid(path + ": vocabulary of " + std::to_string(settings.vocab_size) +
                   " entries, expected 1 to " + std::to_string(layout::kMaxVocabSize));
  }
  const auto end = settings.end_of_document;
  if (end && (*end < 0 || *end >= settings.vocab_size)) {
    return invalid(path + ": end of document is id " + std::to_string(*end) + " in a vocabulary of " +
                   std::to_string(settings.vocab_size));
  }
  FATHOM_ASSIGN(AtomicFile file, AtomicFile::create(path));
  TokenFileWriter writer(std::move(file), settings);
  std::array<uint8_t, layout::kHeaderBytes> header{};
  std::copy(layout::kMagic.begin(), layout::kMagic.end(), header.begin());
  layout::store(header, layout::kVersionAt, layout::kVersion);
  layout::store(header, layout::kWidthAt, static_cast<uint32_t>(writer.width_));
  layout::store(header, layout::kVocabAt, static_cast<uint64_t>(settings.vocab_size));
  layout::store(header, layout::kEndOfDocumentAt,
                end ? static_cast<uint64_t>(*end) : layout::kNoEndOfDocument);
  FATHOM_TRY(writer.file_.write(header));
  return writer;
}

void TokenFileWriter::put(int32_t id) {
  for (int i = 0; i < static_cast<int>(width_); ++i) {
    buffer_.push_back(static_cast<uint8_t>(static_cast<uint32_t>(id) >> (8 * i)));
  }
  ++tokens_;
}

Status TokenFileWriter::flush() {
  hash_.update(buffer_);
  FATHOM_TRY(file_.write(buffer_));
  buffer_.clear();
  return {};
}

Status TokenFileWriter::add_document(std::span<const int32_t> ids) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= settings_.vocab_size) {
      return invalid(file_.path() + ": token " + std::to_string(i) + " of document " +
                     std::to_string(starts_.size()) + " is id " + std::to_string(ids[i]) +
                     ", outside the vocabulary of " + std::to_string(settings_.vocab_size));
    }
  }
  if (ids.empty() && !settings_.end_of_document) return {};  // no token could mark where it is
  starts_.push_back(static_cast<uint64_t>(tokens_));
  for (int32_t id : ids) {
    put(id);
    if (buffer_.size() >= kBufferBytes) FATHOM_TRY(flush());
  }
  if (settings_.end_of_document) put(*settings_.end_of_document);
  return {};
}

Status TokenFileWriter::finish() {
  FATHOM_TRY(flush());
  const size_t padding = (8 - static_cast<size_t>(tokens_) * static_cast<size_t>(width_) % 8) % 8;
  std::vector<uint8_t> tail(padding + starts_.size() * 8 + layout::kTrailerBytes);
  for (size_t i = 0; i < starts_.size(); ++i) layout::store(tail, padding + i * 8, starts_[i]);
  const auto trailer = std::span(tail).last(layout::kTrailerBytes);
  layout::store(trailer, layout::kTokensAt, static_cast<uint64_t>(tokens_));
  layout::store(trailer, layout::kDocumentsAt, static_cast<uint64_t>(starts_.size()));
  const Sha256Digest digest = hash_.finish();
  std::copy(digest.begin(), digest.end(), trailer.begin() + layout::kHashAt);
  std::copy(layout::kEndMagic.begin(), layout::kEndMagic.end(), trailer.begin() + layout::kEndMagicAt);
  FATHOM_TRY(file_.write(tail));
  return file_.commit();
}

}  // namespace fathom
