#include "plan/architecture.h"

namespace fathom {

const std::vector<Architecture>& hybrid_architectures() {
  using enum SelfDecoder;
  using enum CrossDecoder;
  static const std::vector<Architecture> table = {
      {.name = "transformer", .self = kFull, .rope = true},
      {.name = "transformerls", .self = kEveryFourthFull, .rope = true, .window = 128},
      {.name = "samba", .self = kRecurrentAndWindow, .rope = true, .window = 2048},
      {.name = "swayoco", .self = SelfDecoder::kWindow, .cross = kCross, .rope = true, .window = 128},
      {.name = "sambayoco", .self = kRecurrentAndWindow, .cross = kCross, .window = 128},
      {.name = "sambay", .self = kRecurrentAndWindow, .cross = kGatedAndCross, .window = 128},
      {.name = "sambayda",
       .self = kRecurrentAndWindow,
       .cross = kGatedAndCross,
       .differential = true,
       .window = 128},
      {.name = "mambay", .self = SelfDecoder::kRecurrent, .cross = kGatedAndCross},
      {.name = "sambayattn",
       .self = kRecurrentAndWindow,
       .cross = kGatedAndCross,
       .memory_of_attention = true,
       .window = 128},
      {.name = "sambayattnall",
       .self = kRecurrentAndWindow,
       .cross = kGated,
       .memory_of_attention = true,
       .window = 128},
      {.name = "sambaymlp",
       .self = kRecurrentAndWindow,
       .cross = kGatedAndCross,
       .memory = MemorySource::kMlpUp,
       .memory_of_attention = true,
       .window = 128},
      {.name = "phi4flash",
       .self = kRecurrentAndWindow,
       .cross = kGatedAndCross,
       .differential = true,
       .layer_norm = true,
       .biases = true,
       .published_layout = true,
       .window = 512},
      {.name = "sambay2",
       .self = kRecurrentAndWindow,
       .recurrent = Recurrent::kMamba2,
       .cross = kGatedAndCross,
       .normalised_memory = true,
       .window = 128},
      {.name = "mambay2",
       .self = SelfDecoder::kRecurrent,
       .recurrent = Recurrent::kMamba2,
       .cross = kGatedAndCross,
       .normalised_memory = true},
      {.name = "sgdny",
       .self = kRecurrentAndWindow,
       .recurrent = Recurrent::kGatedDelta,
       .cross = kGatedAndCross,
       .normalised_memory = true,
       .window = 128},
      {.name = "gdny",
       .self = SelfDecoder::kRecurrent,
       .recurrent = Recurrent::kGatedDelta,
       .cross = kGatedAndCross,
       .normalised_memory = true},
  };
  return table;
}

Result<Architecture> find_hybrid(std::string_view name) {
  std::string known = "llama";
  for (const Architecture& row : hybrid_architectures()) {
    if (row.name == name) return row;
    known += ", " + std::string(row.name);
  }
  return invalid("architecture: found \"" + std::string(name) + "\", expected one of " + known);
}

MixerKind mixer_of(const Architecture& architecture, int64_t index, int64_t num_layers) {
  const bool even = index % 2 == 0;
  if (architecture.cross != CrossDecoder::kNone) {
    const int64_t keys = num_layers / 2 + 1;
    if (index == keys) return MixerKind::kFullAttention;
    if (index > keys) {
      switch (architecture.cross) {
        case CrossDecoder::kGated:
          return MixerKind::kGatedMemory;
        case CrossDecoder::kGatedAndCross:
          return even ? MixerKind::kGatedMemory : MixerKind::kCrossAttention;
        default:
          return MixerKind::kCrossAttention;
      }
    }
  }
  switch (architecture.self) {
    case SelfDecoder::kFull:
      return MixerKind::kFullAttention;
    case SelfDecoder::kEveryFourthFull:
      return index % 4 == 3 ? MixerKind::kFullAttention : MixerKind::kWindowAttention;
    case SelfDecoder::kRecurrentAndWindow:
      return even ? MixerKind::kRecurrent : MixerKind::kWindowAttention;
    case SelfDecoder::kWindow:
      return MixerKind::kWindowAttention;
    case SelfDecoder::kRecurrent:
      break;
  }
  return MixerKind::kRecurrent;
}

}  // namespace fathom
