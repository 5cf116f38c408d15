#include "data/token_file.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "base/check.h"
#include "base/extents.h"
#include "data/packed_layout.h"
#include "data/token_layout.h"

namespace fathom {

namespace {

namespace layout = token_layout;
static_assert(std::endian::native == std::endian::little, "ids are used as they lie in the file");

Status check_vocab_size(uint64_t vocab_size, TokenWidth width) {
  const uint64_t most = width == TokenWidth::kU16 ? 65536 : static_cast<uint64_t>(layout::kMaxVocabSize);
  if (vocab_size >= 1 && vocab_size <= most) return {};
  return invalid("vocabulary of " + std::to_string(vocab_size) + " entries, expected 1 to " +
                 std::to_string(most) + " for ids of " + std::to_string(8 * static_cast<int>(width)) +
                 " bits");
}

template <class T>
std::optional<size_t> first_beyond(std::span<const uint8_t> bytes, int64_t vocab_size) {
  const auto* ids = reinterpret_cast<const T*>(bytes.data());
  const size_t count = bytes.size() / sizeof(T);
  constexpr size_t kBlock = 4096;
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t end = std::min(count, begin + kBlock);
    T largest = 0;
    for (size_t i = begin; i < end; ++i) largest = std::max(largest, ids[i]);
    if (static_cast<int64_t>(largest) < vocab_size) continue;
    for (size_t i = begin; i < end; ++i) {
      if (static_cast<int64_t>(ids[i]) >= vocab_size) return i;
    }
  }
  return std::nullopt;
}

// The files of llm.c: 256 numbers of 32 bits, the first of them these three, then ids.
namespace llmc {
constexpr size_t kHeaderBytes = 1024, kMagicAt = 0, kVersionAt = 4, kTokensAt = 8;
struct Kind {
  uint32_t magic, version;
  TokenWidth width;
};
constexpr Kind kKinds[] = {{20240520, 1, TokenWidth::kU16}, {20240801, 7, TokenWidth::kU32}};

// What a file says it is; null if it does not.
const Kind* kind_of(std::span<const uint8_t> bytes) {
  if (bytes.size() < kHeaderBytes) return nullptr;
  const auto magic = layout::load<uint32_t>(bytes, kMagicAt);
  const auto* found = std::ranges::find(kKinds, magic, &Kind::magic);
  return found == std::end(kKinds) ? nullptr : found;
}

// Number of ids.
Result<int64_t> read_header(std::span<const uint8_t> bytes, const Kind& kind) {
  const auto version = layout::load<uint32_t>(bytes, kVersionAt);
  if (version != kind.version) {
    return not_supported("llm.c token file of version " + std::to_string(version) + ", expected " +
                         std::to_string(kind.version));
  }
  const auto tokens = layout::load<uint32_t>(bytes, kTokensAt);
  const auto width = static_cast<uint64_t>(kind.width);
  if (tokens * width == bytes.size() - kHeaderBytes) return int64_t{tokens};
  return invalid(std::to_string(tokens) + " ids of " + std::to_string(width) +
                 " bytes do not make a file of " + std::to_string(bytes.size()) + " bytes");
}
}  // namespace llmc

}  // namespace

TokenWidth width_for(int64_t vocab_size) { return vocab_size <= 65536 ? TokenWidth::kU16 : TokenWidth::kU32; }

std::span<const uint8_t> TokenFile::id_bytes() const {
  return bytes_.subspan(static_cast<size_t>(ids_offset_),
                        static_cast<size_t>(tokens_) * static_cast<size_t>(width_));
}

Status TokenFile::read_layout() {
  const auto file = bytes_;
  constexpr size_t kLeast = layout::kHeaderBytes + layout::kTrailerBytes;
  if (file.size() < kLeast) {
    return invalid("not a token shard: " + std::to_string(file.size()) + " bytes, expected at least " +
                   std::to_string(kLeast));
  }
  if (!std::equal(layout::kMagic.begin(), layout::kMagic.end(), file.begin())) {
    return invalid("not a token shard: it does not begin with FATHOMTK");
  }
  const auto version = layout::load<uint32_t>(file, layout::kVersionAt);
  if (version != layout::kVersion) {
    return not_supported("token shard of version " + std::to_string(version) + ", expected 1");
  }
  const auto width = layout::load<uint32_t>(file, layout::kWidthAt);
  if (width != 2 && width != 4) {
    return invalid("ids of " + std::to_string(width) + " bytes, expected 2 or 4");
  }
  width_ = static_cast<TokenWidth>(width);
  const auto vocab_size = layout::load<uint64_t>(file, layout::kVocabAt);
  FATHOM_TRY(check_vocab_size(vocab_size, width_));
  vocab_size_ = static_cast<int64_t>(vocab_size);
  const auto end_of_document = layout::load<uint64_t>(file, layout::kEndOfDocumentAt);
  if (end_of_document != layout::kNoEndOfDocument) {
    if (end_of_document >= vocab_size) {
      return invalid("end of document is id " + std::to_string(end_of_document) + " in a vocabulary of " +
                     std::to_string(vocab_size));
    }
    end_of_document_ = static_cast<int32_t>(end_of_document);
  }

  const auto trailer = file.last(layout::kTrailerBytes);
  if (!std::equal(layout::kEndMagic.begin(), layout::kEndMagic.end(),
                  trailer.begin() + layout::kEndMagicAt)) {
    return invalid("incomplete token shard: it does not end with FATHOMTE");
  }
  const auto tokens = layout::load<uint64_t>(trailer, layout::kTokensAt);
  const auto documents = layout::load<uint64_t>(trailer, layout::kDocumentsAt);
  // Both counts must be small enough for the file before they are multiplied into its exact length.
  const uint64_t between = file.size() - kLeast;
  if (tokens > between / width || documents > between / 8 ||
      static_cast<uint64_t>(round_up(static_cast<int64_t>(tokens * width), 8)) + documents * 8 != between) {
    return invalid(std::to_string(tokens) + " tokens and " + std::to_string(documents) +
                   " documents do not make a file of " + std::to_string(file.size()) + " bytes");
  }
  tokens_ = static_cast<int64_t>(tokens);
  ids_offset_ = layout::kHeaderBytes;
  std::copy_n(trailer.begin() + layout::kHashAt, data_hash_.size(), data_hash_.begin());
  const auto table = trailer.data() - documents * 8;
  table_ = {reinterpret_cast<const uint64_t*>(table), documents};
  const uint8_t* padding = id_bytes().data() + id_bytes().size();
  if (std::any_of(padding, table, [](uint8_t byte) { return byte != 0; })) {
    return invalid("the padding after the ids holds a byte that is not zero");
  }
  return {};
}

Status TokenFile::check_ids() const {
  const auto beyond = width_ == TokenWidth::kU16 ? first_beyond<uint16_t>(id_bytes(), vocab_size_)
                                                 : first_beyond<uint32_t>(id_bytes(), vocab_size_);
  if (!beyond) return {};
  const auto at = static_cast<int64_t>(*beyond);
  return invalid("token " + std::to_string(at) + " is id " +
                 std::to_string(static_cast<uint32_t>(token(at))) + ", outside the vocabulary of " +
                 std::to_string(vocab_size_));
}

// Documents follow one another from the first token to the last, each with its end.
Status TokenFile::check_documents() const {
  if ((tokens_ == 0) != table_.empty() || (!table_.empty() && table_[0] != 0)) {
    return invalid("the first document does not start at token 0");
  }
  for (size_t i = 0; i < table_.size(); ++i) {
    if (table_[i] >= static_cast<uint64_t>(tokens_) || (i > 0 && table_[i] <= table_[i - 1])) {
      return invalid("document " + std::to_string(i) + " starts at token " + std::to_string(table_[i]) +
                     ", which is not after the one before it and in the file");
    }
  }
  if (!end_of_document_) return {};
  for (size_t i = 0; i < table_.size(); ++i) {
    const int64_t next = i + 1 < table_.size() ? static_cast<int64_t>(table_[i + 1]) : tokens_;
    if (token(next - 1) != *end_of_document_) {
      return invalid("document " + std::to_string(i) + " ends with id " + std::to_string(token(next - 1)) +
                     ", expected " + std::to_string(*end_of_document_) + ", the end of a document");
    }
  }
  return {};
}

Status TokenFile::check_hash() const {
  const Sha256Digest found = sha256(id_bytes());
  if (found == data_hash_) return {};
  return invalid("the ids have the SHA-256 " + to_hex(found) + ", but were written with " +
                 to_hex(data_hash_));
}

Result<TokenFile> TokenFile::parse(std::span<const uint8_t> bytes) {
  FATHOM_CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % alignof(uint64_t) == 0,
               "a shard in memory that is not aligned to 8 bytes");
  TokenFile file;
  file.bytes_ = bytes;
  FATHOM_TRY(file.read_layout());
  FATHOM_TRY(file.check_ids());
  FATHOM_TRY(file.check_documents());
  FATHOM_TRY(file.check_hash());
  return file;
}

Result<TokenFile> TokenFile::open(const std::string& path) {
  FATHOM_ASSIGN(MappedFile mapping, MappedFile::open(path));
  Result<TokenFile> file = parse(mapping.bytes());
  if (!file.ok()) return at(path, std::move(file).error());
  file->mapping_ = std::move(mapping);
  file->path_ = path;
  return file;
}

Status TokenFile::read_bare_ids() {
  FATHOM_TRY(check_vocab_size(static_cast<uint64_t>(vocab_size_), width_));
  if (end_of_document_ && (*end_of_document_ < 0 || *end_of_document_ >= vocab_size_)) {
    return invalid("end of document is id " + std::to_string(*end_of_document_) + " in a vocabulary of " +
                   std::to_string(vocab_size_));
  }
  FATHOM_TRY(check_ids());
  for (int64_t i = 0; i < tokens_; ++i) {
    if (i == 0 || (end_of_document_ && token(i - 1) == *end_of_document_)) {
      found_starts_.push_back(static_cast<uint64_t>(i));
    }
  }
  data_hash_ = sha256(id_bytes());
  return {};
}

Result<TokenFile> TokenFile::open_raw(const std::string& path, TokenWidth width, int64_t vocab_size,
                                      std::optional<int32_t> end_of_document) {
  TokenFile file;
  file.path_ = path;
  file.width_ = width;
  file.vocab_size_ = vocab_size;
  file.end_of_document_ = end_of_document;
  FATHOM_ASSIGN(file.mapping_, MappedFile::open(path));
  file.bytes_ = file.mapping_.bytes();
  const size_t bytes = file.bytes_.size();
  const auto id_size = static_cast<size_t>(width);
  if (bytes % id_size != 0) {
    return invalid(path + ": " + std::to_string(bytes) + " bytes are no whole number of ids of " +
                   std::to_string(id_size) + " bytes");
  }
  file.tokens_ = static_cast<int64_t>(bytes / id_size);
  if (Status status = file.read_bare_ids(); !status.ok()) return at(path, std::move(status).error());
  return file;
}

Status TokenFile::read_packed_layout() {
  namespace packed = packed_layout;
  if (bytes_.size() < packed::kHeaderBytes) {
    return invalid("not a packed token file: " + std::to_string(bytes_.size()) +
                   " bytes, expected at least " + std::to_string(packed::kHeaderBytes));
  }
  if (!std::equal(packed::kMagic.begin(), packed::kMagic.end(), bytes_.begin()))
    return invalid("not a packed token file: it does not begin with LITPKDS");
  const auto version = layout::load<uint64_t>(bytes_, packed::kVersionAt);
  if (version != packed::kVersion) {
    return not_supported("packed token file of version " + std::to_string(version) + ", expected 1");
  }
  const uint8_t type = bytes_[packed::kTypeAt];
  if (type != packed::kInt32 && type != packed::kUInt16) {
    return not_supported("ids of the type with code " + std::to_string(type) +
                         ", expected 8 (unsigned 16 bits) or 4 (32 bits)");
  }
  width_ = type == packed::kUInt16 ? TokenWidth::kU16 : TokenWidth::kU32;
  const auto tokens = layout::load<uint64_t>(bytes_, packed::kTokensAt);
  const uint64_t room = bytes_.size() - packed::kHeaderBytes, width = static_cast<uint64_t>(width_);
  if (tokens > room / width || tokens * width != room) {
    return invalid(std::to_string(tokens) + " ids of " + std::to_string(width) +
                   " bytes do not make a file of " + std::to_string(bytes_.size()) + " bytes");
  }
  tokens_ = static_cast<int64_t>(tokens);
  ids_offset_ = packed::kHeaderBytes;
  return {};
}

Result<TokenFile> TokenFile::parse_packed(std::span<const uint8_t> bytes, int64_t vocab_size,
                                          std::optional<int32_t> end_of_document) {
  FATHOM_CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % alignof(uint64_t) == 0,
               "a packed file in memory that is not aligned to 8 bytes");
  TokenFile file;
  file.bytes_ = bytes;
  file.vocab_size_ = vocab_size;
  file.end_of_document_ = end_of_document;
  FATHOM_TRY(file.read_packed_layout());
  FATHOM_TRY(file.read_bare_ids());
  return file;
}

Result<TokenFile> TokenFile::open_packed(const std::string& path, int64_t vocab_size,
                                         std::optional<int32_t> end_of_document) {
  FATHOM_ASSIGN(MappedFile mapping, MappedFile::open(path));
  Result<TokenFile> file = parse_packed(mapping.bytes(), vocab_size, end_of_document);
  if (!file.ok()) return at(path, std::move(file).error());
  file->mapping_ = std::move(mapping);
  file->path_ = path;
  return file;
}

Result<TokenFile> TokenFile::open_any(const std::string& path, int64_t vocab_size,
                                      std::optional<int32_t> end_of_document) {
  if (path.ends_with(".tokens")) return open(path);
  FATHOM_ASSIGN(MappedFile mapping, MappedFile::open(path));
  const auto bytes = mapping.bytes();
  const auto& magic = packed_layout::kMagic;
  if (bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin()))
    return open_packed(path, vocab_size, end_of_document);
  const llmc::Kind* kind = llmc::kind_of(bytes);
  if (kind == nullptr) return open_raw(path, width_for(vocab_size), vocab_size, end_of_document);
  TokenFile file;
  file.path_ = path;
  file.bytes_ = bytes;
  file.mapping_ = std::move(mapping);
  file.width_ = kind->width;
  file.vocab_size_ = vocab_size;
  file.end_of_document_ = end_of_document;
  file.ids_offset_ = llmc::kHeaderBytes;
  const Result<int64_t> tokens = llmc::read_header(bytes, *kind);
  if (!tokens.ok()) return at(path, tokens.error());
  file.tokens_ = *tokens;
  if (Status status = file.read_bare_ids(); !status.ok()) return at(path, std::move(status).error());
  return file;
}

std::span<const uint64_t> TokenFile::document_starts() const {
  return table_.empty() ? std::span<const uint64_t>(found_starts_) : table_;
}

int32_t TokenFile::token(int64_t index) const {
  int32_t id = 0;
  read(index, {&id, 1});
  return id;
}

void TokenFile::read(int64_t begin, std::span<int32_t> out) const {
  const auto count = static_cast<int64_t>(out.size());
  FATHOM_CHECK(begin >= 0 && count <= tokens_ && begin <= tokens_ - count,
               path_ + ": tokens " + std::to_string(begin) + " + " + std::to_string(count));
  const uint8_t* ids = id_bytes().data();
  if (width_ == TokenWidth::kU16) {
    std::copy_n(reinterpret_cast<const uint16_t*>(ids) + begin, count, out.begin());
  } else {
    std::copy_n(reinterpret_cast<const uint32_t*>(ids) + begin, count, out.begin());
  }
}

}  // namespace fathom
