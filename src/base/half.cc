#include "base/half.h"

#include <cmath>

namespace fathom {

float to_float(Half value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000U) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1fU;
  const uint32_t mantissa = value.bits & 0x3ffU;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide_exponent = exponent == 31 ? 255 : exponent + 112;
  const uint32_t bits = sign | (wide_exponent << 23) | (mantissa << 13);
  float out;
  memcpy(&out, &bits, sizeof out);
  return out;
}

Half to_half(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000U);
  const uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return {static_cast<uint16_t>(sign | 0x7e00U)};
  if (magnitude >= 0x477ff000U) return {static_cast<uint16_t>(sign | 0x7c00U)};  // rounds past 65504
  if (magnitude < 0x38800000U) {  // subnormal half: scale so that the float adder rounds at the right bit
    float absolute;
    memcpy(&absolute, &magnitude, sizeof absolute);
    const auto steps = static_cast<uint16_t>(std::nearbyint(std::ldexp(absolute, 24)));
    return {static_cast<uint16_t>(sign | steps)};
  }
  const uint32_t rounded = magnitude - 0x38000000U + 0xfffU + ((magnitude >> 13) & 1U);
  return {static_cast<uint16_t>(sign | (rounded >> 13))};
}

}  // namespace fathom
