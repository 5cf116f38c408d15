// 64-bit arithmetic on sizes that come from outside: every product and sum is checked.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace fathom {

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t out;
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

inline std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  uint64_t out;
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

// Number of elements of a shape; the empty shape has one. Nothing when the product does not fit 64 bits.
inline std::optional<uint64_t> checked_elements(std::span<const int64_t> shape) {
  uint64_t product = 1;
  for (int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    auto next = checked_mul(product, static_cast<uint64_t>(extent));
    if (!next) return std::nullopt;
    product = *next;
  }
  return product;
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t multiple) { return ceil_div(a, multiple) * multiple; }

}  // namespace fathom
