#include "io/event_file.h"

#include <bit>

#include "io/crc32c.h"

namespace fathom {

namespace {

// Numbers of the message's fields.
enum EventField { kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7 };
constexpr int kSummaryValue = 1, kValueTag = 1, kValueSimple = 2, kSessionStatus = 1, kSessionStart = 1;
enum Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void put_fixed(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void put_key(std::string& out, int field, Wire wire) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire));
}

void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

uint64_t fixed(std::string_view bytes, size_t at, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; ++i) {
    value |= uint64_t{static_cast<uint8_t>(bytes[at + static_cast<size_t>(i)])} << (8 * i);
  }
  return value;
}

// A checksum over data that holds checksums itself is rotated and shifted first (TFRecord).
uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8; }

std::string framed(const std::string& message) {
  std::string frame;
  put_fixed(frame, message.size(), 8);
  put_fixed(frame, masked_crc(frame), 4);
  frame += message;
  put_fixed(frame, masked_crc(message), 4);
  return frame;
}

std::string event(double wall_time, int64_t step, int field, std::string_view content) {
  std::string message;
  put_key(message, kWallTime, kFixed64);
  put_fixed(message, std::bit_cast<uint64_t>(wall_time), 8);
  put_key(message, kStep, kVarint);
  put_varint(message, static_cast<uint64_t>(step));
  put_bytes(message, field, content);
  return framed(message);
}

// Reads one varint at `at` and moves behind it; nothing at a torn one.
std::optional<uint64_t> take_varint(std::string_view bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes[at++]);
    value |= uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

// The step of an Event, 0 if it does not say.
std::optional<int64_t> step_of(std::string_view message) {
  size_t at = 0;
  while (at < message.size()) {
    const std::optional<uint64_t> key = take_varint(message, at);
    if (!key) return std::nullopt;
    uint64_t skip = 0;
    switch (*key & 7) {
      case kVarint: {
        const std::optional<uint64_t> value = take_varint(message, at);
        if (!value) return std::nullopt;
        if (*key >> 3 == kStep) return static_cast<int64_t>(*value);
        break;
      }
      case kFixed64:
        skip = 8;
        break;
      case kFixed32:
        skip = 4;
        break;
      case kBytes: {
        const std::optional<uint64_t> size = take_varint(message, at);
        if (!size) return std::nullopt;
        skip = *size;
        break;
      }
      default:
        return std::nullopt;
    }
    if (skip > message.size() - at) return std::nullopt;
    at += skip;
  }
  return 0;
}

}  // namespace

std::string version_event(double wall_time) { return event(wall_time, 0, kFileVersion, "brain.Event:2"); }

std::string start_event(double wall_time, int64_t step) {
  std::string session;
  put_key(session, kSessionStatus, kVarint);
  put_varint(session, kSessionStart);
  return event(wall_time, step, kSessionLog, session);
}

std::string scalar_event(double wall_time, int64_t step, std::span<const EventScalar> scalars) {
  std::string summary;
  for (const EventScalar& scalar : scalars) {
    std::string value;
    put_bytes(value, kValueTag, scalar.tag);
    put_key(value, kValueSimple, kFixed32);
    put_fixed(value, std::bit_cast<uint32_t>(static_cast<float>(scalar.value)), 4);
    put_bytes(summary, kSummaryValue, value);
  }
  return event(wall_time, step, kSummary, summary);
}

std::optional<EventFrame> read_event(std::string_view rest) {
  constexpr size_t kHead = 12, kTail = 4;
  if (rest.size() < kHead + kTail) return std::nullopt;
  const uint64_t size = fixed(rest, 0, 8);
  if (size > rest.size() - kHead - kTail) return std::nullopt;
  const std::string_view message = rest.substr(kHead, size);
  if (fixed(rest, 8, 4) != masked_crc(rest.substr(0, 8)) ||
      fixed(rest, kHead + size, 4) != masked_crc(message))
    return std::nullopt;
  const std::optional<int64_t> step = step_of(message);
  if (!step) return std::nullopt;
  return EventFrame{kHead + static_cast<size_t>(size) + kTail, *step, message};
}

}  // namespace fathom
