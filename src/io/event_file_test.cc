// What is written is what a reader of the published formats finds, byte by byte. The reader here is its own:
// it shares nothing with the writer but the field numbers of event.proto.
#include "io/event_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "io/crc32c.h"

namespace fathom {
namespace {

TEST(Crc32c, MatchesThePublishedExamples) {
  // RFC 3720, B.4, and the check value of the CRC catalogues.
  EXPECT_EQ(crc32c(""), 0U);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43U);
  std::string rising;
  for (char c = 0; c < 32; ++c) rising.push_back(c);
  EXPECT_EQ(crc32c(rising), 0x46DD794EU);
}

template <class T>
T load(const std::string& bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

uint32_t masked(const std::string& bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

// A message as field number -> values: numbers of varints, bytes of everything else.
struct Field {
  int number;
  uint64_t varint;
  std::string bytes;
};

std::vector<Field> parse(const std::string& message) {
  std::vector<Field> fields;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<uint8_t>(message.at(at++));
      value |= uint64_t{byte & 127U} << shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.size()) {
    const uint64_t key = varint();
    Field field{static_cast<int>(key >> 3), 0, ""};
    size_t length = 0;
    switch (key & 7) {
      case 0:
        field.varint = varint();
        break;
      case 1:
        length = 8;
        break;
      case 2:
        length = varint();
        break;
      case 5:
        length = 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
        return fields;
    }
    EXPECT_LE(at + length, message.size());
    field.bytes = message.substr(at, length);
    at += length;
    fields.push_back(field);
  }
  return fields;
}

const Field& only(const std::vector<Field>& fields, int number) {
  const Field* found = nullptr;
  for (const Field& field : fields) {
    if (field.number != number) continue;
    EXPECT_EQ(found, nullptr) << "field " << number << " twice";
    found = &field;
  }
  static const Field kNone{};
  EXPECT_NE(found, nullptr) << "no field " << number;
  return found != nullptr ? *found : kNone;
}

// Checks the frame's length and checksums.
std::string unframed(const std::string& frame) {
  EXPECT_GE(frame.size(), 16U);
  const auto length = load<uint64_t>(frame, 0);
  EXPECT_EQ(frame.size(), length + 16);
  EXPECT_EQ(load<uint32_t>(frame, 8), masked(frame.substr(0, 8)));
  std::string message = frame.substr(12, length);
  EXPECT_EQ(load<uint32_t>(frame, 12 + length), masked(message));
  return message;
}

TEST(EventFile, TheFirstEventNamesTheVersion) {
  const std::vector<Field> event = parse(unframed(version_event(1.5)));
  EXPECT_EQ(load<double>(only(event, 1).bytes, 0), 1.5);
  EXPECT_EQ(only(event, 3).bytes, "brain.Event:2");
}

TEST(EventFile, AStartNamesItsStep) {
  const std::vector<Field> event = parse(unframed(start_event(1.5, 300)));
  EXPECT_EQ(only(event, 2).varint, 300U);
  EXPECT_EQ(only(parse(only(event, 7).bytes), 1).varint, 1U);
}

TEST(EventFile, ScalarsKeepTagStepAndValue) {
  const std::vector<EventScalar> scalars = {{"train/loss", 3.25},
                                            {"router/kept_1", 0.5},
                                            {"train/tokens", 1e12},
                                            {"x", -std::numeric_limits<double>::infinity()},
                                            {std::string(300, 't'), 0}};
  for (const int64_t step : {int64_t{1}, int64_t{127}, int64_t{128}, int64_t{1} << 40}) {
    const std::vector<Field> event = parse(unframed(scalar_event(1732520000.125, step, scalars)));
    EXPECT_EQ(load<double>(only(event, 1).bytes, 0), 1732520000.125);
    EXPECT_EQ(only(event, 2).varint, static_cast<uint64_t>(step));
    const std::vector<Field> values = parse(only(event, 5).bytes);
    ASSERT_EQ(values.size(), scalars.size());
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(values[i].number, 1);
      const std::vector<Field> value = parse(values[i].bytes);
      EXPECT_EQ(only(value, 1).bytes, scalars[i].tag);
      EXPECT_EQ(load<float>(only(value, 2).bytes, 0), static_cast<float>(scalars[i].value));
    }
  }
}

TEST(EventFile, AFrameIsReadBackOnlyWhole) {
  const std::string frame = scalar_event(2.0, 77, std::vector<EventScalar>{{"a/b", 1.0}});
  const std::optional<EventFrame> read = read_event(frame + "next");
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->bytes, frame.size());
  EXPECT_EQ(read->step, 77);
  for (size_t length = 0; length < frame.size(); ++length)
    EXPECT_FALSE(read_event(std::string_view(frame).substr(0, length)).has_value()) << length;
  for (size_t i = 0; i < frame.size(); ++i) {
    std::string damaged = frame;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    EXPECT_FALSE(read_event(damaged).has_value()) << "byte " << i;
  }
}

}  // namespace
}  // namespace fathom
