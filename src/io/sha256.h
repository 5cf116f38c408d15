// SHA-256 (FIPS 180-4), for the identity of data files: with the processor's instructions for it where there
// are any. Not used where an attacker gains from timing.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace fathom {

using Sha256Digest = std::array<uint8_t, 32>;

class Sha256 {
 public:
  void update(std::span<const uint8_t> bytes);
  // Ends the message; the object must not be used afterwards.
  Sha256Digest finish();

 private:
  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> pending_{};
  uint64_t length_ = 0;  // bytes seen
};

Sha256Digest sha256(std::span<const uint8_t> bytes);

// 64 lower-case hexadecimal digits.
std::string to_hex(const Sha256Digest& digest);

}  // namespace fathom
