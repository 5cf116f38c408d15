// Storage types of 16 bits. Arithmetic is done in float; these only convert.
#pragma once

#include <cstdint>
#include <cstring>

namespace fathom {

// bfloat16: the upper half of an IEEE float. Rounding is to nearest, ties to even; NaN stays NaN.
struct BFloat16 {
  uint16_t bits;
};

// IEEE binary16. Only read from and written to files.
struct Half {
  uint16_t bits;
};

static inline float to_float(BFloat16 value) {
  uint32_t wide = static_cast<uint32_t>(value.bits) << 16;
  float out;
  memcpy(&out, &wide, sizeof out);
  return out;
}

static inline BFloat16 to_bfloat16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return {static_cast<uint16_t>((bits >> 16) | 0x40U)};
  bits += 0x7fffU + ((bits >> 16) & 1U);
  return {static_cast<uint16_t>(bits >> 16)};
}

static inline float round_to_bfloat16(float value) { return to_float(to_bfloat16(value)); }

float to_float(Half value);
Half to_half(float value);

}  // namespace fathom
