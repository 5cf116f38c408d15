// The bytes of a token shard, shared by its reader and its writer; docs/formats/token-shards.md explains
// them.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

namespace fathom::token_layout {

inline constexpr std::array<uint8_t, 8> kMagic = {'F', 'A', 'T', 'H', 'O', 'M', 'T', 'K'};
inline constexpr std::array<uint8_t, 8> kEndMagic = {'F', 'A', 'T', 'H', 'O', 'M', 'T', 'E'};
inline constexpr uint32_t kVersion = 1;
inline constexpr int64_t kMaxVocabSize = int64_t{1} << 31;  // ids are used as int32
inline constexpr uint64_t kNoEndOfDocument = UINT64_MAX;

// Offsets in the header.
inline constexpr size_t kVersionAt = 8, kWidthAt = 12, kVocabAt = 16, kEndOfDocumentAt = 24,
                        kHeaderBytes = 32;
// Offsets in the trailer, which ends the file.
inline constexpr size_t kTokensAt = 0, kDocumentsAt = 8, kHashAt = 16, kEndMagicAt = 48, kTrailerBytes = 56;

template <class T>
T load(std::span<const uint8_t> bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(value | static_cast<T>(bytes[at + i]) << (8 * i));
  return value;
}

template <class T>
void store(std::span<uint8_t> bytes, size_t at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) bytes[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

}  // namespace fathom::token_layout
