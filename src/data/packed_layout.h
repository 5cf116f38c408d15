// The bytes of a packed token file ("LITPKDS"), shared by its reader and its writer;
// docs/formats/token-shards.md explains them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace fathom::packed_layout {

inline constexpr std::array<uint8_t, 7> kMagic = {'L', 'I', 'T', 'P', 'K', 'D', 'S'};
inline constexpr uint64_t kVersion = 1;
inline constexpr size_t kVersionAt = 7, kTypeAt = 15, kTokensAt = 16, kHeaderBytes = 24;

// Codes of the types of ids. There are codes of six more, which nobody writes tokens as.
inline constexpr uint8_t kInt32 = 4, kUInt16 = 8;
// The training code writes 16 bits below this vocabulary, else 32.
inline constexpr int64_t kLeastWideVocabSize = 65500;

}  // namespace fathom::packed_layout
