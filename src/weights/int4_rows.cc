#include "weights/int4_rows.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/int4.h"

namespace fathom {

namespace {

// Four at a time: every processor of this kind has vectors of that size.
using Four = float __attribute__((vector_size(16)));
constexpr Four kMagic = {12582912, 12582912, 12582912, 12582912};  // 1.5 * 2^23: adding it rounds
constexpr Four kMost = {int4::kMost, int4::kMost, int4::kMost, int4::kMost};
constexpr int64_t kMostFours = 128 / 4;

// A group's values, zeros behind them: those are held exactly, whatever the scale.
struct Group {
  std::array<Four, kMostFours> fours{};
  int64_t count = 0;  // of fours
  float low = 0, high = 0;
};

Group group_of(std::span<const float> values) {
  Group group;
  std::memcpy(group.fours.data(), values.data(), values.size_bytes());
  group.count = static_cast<int64_t>(values.size() + 3) / 4;
  for (const float value : values) {
    group.low = std::min(group.low, value);
    group.high = std::max(group.high, value);
  }
  return group;
}

struct Choice {
  uint16_t word = int4::word_of(0, 0);
  float error = std::numeric_limits<float>::infinity();
  float best_scale = 0;  // for the q of this choice
};

Four whole(Four value, float inverse, float zero) {
  Four q = (value * inverse + zero + kMagic) - kMagic;
  q = q > 0.0F ? q : Four{};
  return q < kMost ? q : kMost;
}

float sum(Four v) { return (v[0] + v[2]) + (v[1] + v[3]); }

// Takes scale and zero where their sum of squared errors is less.
void consider(const Group& group, float scale, int zero, Choice& best) {
  const uint16_t word = int4::word_of(scale, zero);
  const float held = int4::scale_of(word), inverse = 1 / held;
  Four errors = {}, products = {}, squares = {};
  for (int64_t i = 0; i < group.count; ++i) {
    const Four value = group.fours[static_cast<size_t>(i)];
    const Four q = whole(value, inverse, static_cast<float>(zero)) - static_cast<float>(zero);
    const Four error = value - q * held;
    errors += error * error;
    products += value * q;
    squares += q * q;
  }
  const float error = sum(errors), square = sum(squares);
  if (error < best.error) best = {word, error, square > 0 ? sum(products) / square : held};
}

// Ranges from the whole one down to two thirds of it, each with the zeros next to where it puts them and the
// scale that fits their best q; then that of the q found best, and its neighbours.
uint16_t word_of(const Group& group) {
  constexpr int kRanges = 8;
  constexpr float kStep = 0.05F, kNear = 1.0F / 64;
  const float whole_scale = std::max((group.high - group.low) / int4::kMost, int4::kLeastScale);
  Choice best;
  for (int range = 0; range < kRanges; ++range) {
    const float scale = whole_scale * (1 - kStep * static_cast<float>(range));
    const int middle = static_cast<int>(std::lround(-group.low / whole_scale));
    const float before = best.error;
    for (int zero = middle - 1; zero <= middle + 1; ++zero) {
      if (zero >= 0 && zero <= int4::kMost) consider(group, scale, zero, best);
    }
    if (best.error < before) consider(group, best.best_scale, int4::zero_of(best.word), best);
  }
  for (int round = 0; round < 2; ++round) {
    const int zero = int4::zero_of(best.word);
    const float scale = best.best_scale;
    for (const float near : {1 - kNear, 1.0F, 1 + kNear}) consider(group, scale * near, zero, best);
  }
  return best.word;
}

// Halves of a group's values, which have places in the row.
void put(std::span<const float> values, int64_t first, int64_t columns, int64_t group, uint16_t word,
         uint8_t* q) {
  const float inverse = 1 / int4::scale_of(word);
  for (size_t i = 0; i < values.size(); ++i) {
    const int4::Place place = int4::place_of(first + static_cast<int64_t>(i), columns, group);
    const Four half = whole(Four{values[i]}, inverse, static_cast<float>(int4::zero_of(word)));
    q[place.byte] = static_cast<uint8_t>(q[place.byte] | static_cast<int>(half[0]) << place.shift);
  }
}

}  // namespace

bool quantise_row_int4(std::span<const float> row, int64_t group, uint8_t* q, uint16_t* words) {
  const auto columns = static_cast<int64_t>(row.size());
  std::fill_n(q, int4::row_bytes(columns), uint8_t{0});
  for (int64_t first = 0; first < columns; first += group) {
    const auto values =
        row.subspan(static_cast<size_t>(first), static_cast<size_t>(std::min(group, columns - first)));
    const Group held = group_of(values);
    const bool finite = std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
    if (!finite || held.high - held.low > int4::kMost * int4::kMostScale) return false;
    const uint16_t word = held.high > held.low ? word_of(held) : int4::word_of(int4::kLeastScale, 0);
    words[first / group] = word;
    put(values, first, columns, group, word, q);
  }
  return true;
}

void read_row_int4(const uint8_t* q, const void* words, int64_t group, std::span<float> row) {
  const auto columns = static_cast<int64_t>(row.size());
  for (int64_t i = 0; i < columns; ++i) {
    uint16_t word;
    std::memcpy(&word, static_cast<const uint8_t*>(words) + i / group * 2, sizeof word);
    const int4::Place place = int4::place_of(i, columns, group);
    const int half = q[place.byte] >> place.shift & int4::kMost;
    row[static_cast<size_t>(i)] = int4::scale_of(word) * static_cast<float>(half - int4::zero_of(word));
  }
}

}  // namespace fathom
