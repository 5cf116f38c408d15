// Any bytes as an event file. The frames that are read lie in it one behind another.
//
// No mutation keeps a checksum true, so those of each frame are made true here unless the last bit of the
// input says otherwise.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "io/crc32c.h"
#include "io/event_file.h"

namespace {

constexpr size_t kHead = 12, kTail = 4;

void put_checksum(std::string& file, size_t at, std::string_view over) {
  const uint32_t checksum = std::rotr(fathom::crc32c(over), 15) + 0xA282EAD8;
  for (size_t i = 0; i < 4; ++i) file[at + i] = static_cast<char>(checksum >> (8 * i));
}

void make_checksums_true(std::string& file) {
  for (size_t at = 0; file.size() - at >= kHead + kTail;) {
    uint64_t size = 0;
    for (size_t i = 0; i < 8; ++i) size |= uint64_t{static_cast<uint8_t>(file[at + i])} << (8 * i);
    if (size > file.size() - at - kHead - kTail) return;
    put_checksum(file, at + 8, std::string_view(file).substr(at, 8));
    put_checksum(file, at + kHead + size, std::string_view(file).substr(at + kHead, size));
    at += kHead + size + kTail;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string file(reinterpret_cast<const char*>(data), size);
  if (size > 0 && (data[size - 1] & 0x80) == 0) make_checksums_true(file);
  std::string_view rest = file;
  while (const auto frame = fathom::read_event(rest)) {
    if (frame->bytes != kHead + frame->message.size() + kTail || frame->bytes > rest.size()) std::abort();
    if (frame->message.data() != rest.data() + kHead) std::abort();
    rest.remove_prefix(frame->bytes);
  }
  return 0;
}
