// Matrices as int4 (base/int4.h): each group of a row has a scale and a zero of its own, chosen for the least
// sum of squared errors among ranges that cut off what lies far out.
#pragma once

#include <cstdint>
#include <span>

namespace fathom {

// Writes the halves q of one row, [int4::row_bytes(row.size())], and the words of its groups,
// [int4::groups_of(row.size(), group)]. False, with nothing written that counts, where int4 does not hold the
// row: a value is not finite, or a group's lie further apart than 15 times the largest scale.
bool quantise_row_int4(std::span<const float> row, int64_t group, uint8_t* q, uint16_t* words);

// The values that they stand for. `words` may lie at any address.
void read_row_int4(const uint8_t* q, const void* words, int64_t group, std::span<float> row);

}  // namespace fathom
