// How rows of 4-bit weights lie, for all who read or write them (docs/formats/checkpoint.md). A row of
// `columns` weights is cut into groups of `group`, the last of which may be shorter, and
//
//   w[i] = scale[g] * (q[i] - zero[g]),  q and zero whole numbers from 0 to 15.
//
// 32 consecutive q are a chunk of 16 bytes: byte j holds number 2j in its lower half and 2j + 1 in its upper
// half. Four groups lie side by side: the first chunk of each, then the second of each, and so on, so that a
// vector of 16, 32 or 64 bytes holds as many of one, two or four groups, 8 to a lane of 32 bits. What four
// groups leave over lies side by side likewise; a shorter last group is alone at the end.
//
// Scale and zero share a word of 16 bits: above the 4 bits of zero, 7 bits of a fraction f and 5 of an
// exponent e, scale = 2^(e - 24) (1 + f / 128). Every word is a finite scale above zero.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "base/dtype.h"

namespace fathom::int4 {

constexpr int64_t kChunk = 32, kChunkBytes = 16;
constexpr int64_t kSideBySide = 4;            // groups
constexpr int64_t kGroups[] = {32, 64, 128};  // what a group may be
constexpr int kMost = 15;                     // the largest q and zero
constexpr float kLeastScale = 0x1p-24F, kMostScale = 255;

constexpr int64_t groups_of(int64_t columns, int64_t group) { return (columns + group - 1) / group; }
constexpr int64_t row_bytes(int64_t columns) { return (columns + kChunk - 1) / kChunk * kChunkBytes; }

// Where q of column i lies: its byte of the row, and by how much it is shifted there.
struct Place {
  int64_t byte;
  int shift;
};
constexpr Place place_of(int64_t i, int64_t columns, int64_t group) {
  const int64_t whole = columns / group, g = i / group, in_group = i % group;
  const int64_t block = std::min(g / kSideBySide * kSideBySide, whole);
  const int64_t side = g < whole ? std::min(kSideBySide, whole - block) : 1;
  const int64_t first = g < whole ? block : whole;  // group of the block
  const int64_t chunk = first * group / kChunk + in_group / kChunk * side + (g - first);
  return {chunk * kChunkBytes + in_group % kChunk / 2, static_cast<int>(in_group % 2 * 4)};
}

constexpr int zero_of(uint16_t word) { return word & kMost; }
constexpr float scale_of(uint16_t word) {
  return std::bit_cast<float>(((word & 0xfff0U) << 12) + (103U << 23));
}
// The word of the scale next to `scale`, with that zero.
constexpr uint16_t word_of(float scale, int zero) {
  const float held = scale > kLeastScale ? (scale < kMostScale ? scale : kMostScale) : kLeastScale;
  const uint32_t bits = std::bit_cast<uint32_t>(held) - (103U << 23) + (1U << 15);
  return static_cast<uint16_t>((bits >> 16 << 4) | static_cast<uint32_t>(zero));
}

}  // namespace fathom::int4

namespace fathom {

// Bytes of a row of a matrix; of int4 those of q.
constexpr int64_t row_bytes(DType type, int64_t columns) {
  return type == DType::kI4 ? int4::row_bytes(columns) : columns * size_of(type);
}

}  // namespace fathom
