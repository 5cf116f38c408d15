// CRC-32C (Castagnoli polynomial 0x1EDC6F41, reflected), as iSCSI and TFRecord use it: RFC 3720, appendix
// B.4.
#pragma once

#include <cstdint>
#include <string_view>

namespace fathom {

uint32_t crc32c(std::string_view bytes);

}  // namespace fathom
