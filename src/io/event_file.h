// TensorBoard event files: TFRecord frames, each with one Event message (tensorflow/core/util/event.proto).
// Only what scalars need is written, and only what is needed to cut a file at a step is read.
//
//   frame = length (8 bytes), masked CRC-32C of the length (4), message, masked CRC-32C of the message (4),
// integers little-endian.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace fathom {

struct EventScalar {
  std::string tag;  // "train/loss"; what stands before the slash groups the charts
  double value = 0;
};

// One frame each, ready to be appended. `wall_time`: seconds since 1970.
std::string version_event(double wall_time);  // the first of every file
// The run starts at `step`: readers drop what earlier files say about this step and later ones.
std::string start_event(double wall_time, int64_t step);
std::string scalar_event(double wall_time, int64_t step, std::span<const EventScalar> scalars);

struct EventFrame {
  size_t bytes = 0;  // of the whole frame
  int64_t step = 0;
  std::string_view message;
};
// The frame that `rest` begins with; nothing if it is incomplete or its checksums are wrong.
std::optional<EventFrame> read_event(std::string_view rest);

}  // namespace fathom
