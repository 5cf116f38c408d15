#include "plan/architecture.h"

namespace fathom {

const std::vector<Architecture>& hybrid_architectures() {
  using enum SelfDecoder;
  using enum CrossDecoder;
  static const std::vector<Architecture> table = {
      {.name = "transformer", .self = kFull, .rope = true},
      {.name = "transformerls", .self = kEveryFourthFull, .rope = true, .window = 128},
      {.name = "samba", .self = kMambaAndWindow, .rope = true, .window = 2048},
      {.name = "swayoco", .self = SelfDecoder::kWindow, .cross = kCross, .rope = true, .window = 128},
      {.name = "sambayoco", .self = kMambaAndWindow, .cross = kCross, .window = 128},
      {.name = "sambay", .self = kMambaAndWindow, .cross = kGatedAndCross, .window = 128},
      {.name = "sambayda",
       .self = kMambaAndWindow,
       .cross = kGatedAndCross,
       .differential = true,
       .window = 128},
      {.name = "mambay", .self = kMamba, .cross = kGatedAndCross},
      {.name = "sambayattn",
       .self = kMambaAndWindow,
       .cross = kGatedAndCross,
       .memory_of_attention = true,
       .window = 128},
      {.name = "sambayattnall",
       .self = kMambaAndWindow,
       .cross = kGated,
       .memory_of_attention = true,
       .window = 128},
      {.name = "sambaymlp",
       .self = kMambaAndWindow,
       .cross = kGatedAndCross,
       .memory = MemorySource::kMlpUp,
       .memory_of_attention = true,
       .window = 128},
      {.name = "phi4flash",
       .self = kMambaAndWindow,
       .cross = kGatedAndCross,
       .differential = true,
       .layer_norm = true,
       .biases = true,
       .window = 512},
      {.name = "sambay2", .missing_mixer = "Mamba-2 mixer"},
      {.name = "mambay2", .missing_mixer = "Mamba-2 mixer"},
      {.name = "sgdny", .missing_mixer = "Gated DeltaNet mixer"},
      {.name = "gdny", .missing_mixer = "Gated DeltaNet mixer"},
  };
  return table;
}

Result<Architecture> find_hybrid(std::string_view name) {
  std::string known = "llama";
  for (const Architecture& row : hybrid_architectures()) {
    if (row.name == name) {
      if (row.missing_mixer.empty()) return row;
      return not_supported("not supported yet: " + std::string(row.missing_mixer) + " (" + std::string(name) +
                           ")");
    }
    if (row.missing_mixer.empty()) known += ", " + std::string(row.name);
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
    case SelfDecoder::kMambaAndWindow:
      return even ? MixerKind::kMamba : MixerKind::kWindowAttention;
    case SelfDecoder::kWindow:
      return MixerKind::kWindowAttention;
    case SelfDecoder::kMamba:
      break;
  }
  return MixerKind::kMamba;
}

}  // namespace fathom
