// The architectures of the decoder-hybrid-decoder study as rows of one table: which mixer stands in which
// layer, where positions enter, where the memory of gated memory units comes from (Decoder-Hybrid-Decoder,
// sections 1.2 and 1.3).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "plan/model_plan.h"

namespace fathom {

// Mixers of the self-decoder, or of all layers where there is no cross-decoder.
enum class SelfDecoder : uint8_t {
  kFull,                // full attention, or all layers windowed if the spec has a window
  kEveryFourthFull,     // full attention in layers 3, 7, ..., else windowed
  kRecurrentAndWindow,  // even layers recurrent, odd layers windowed
  kWindow,
  kRecurrent
};

// Which mixer stands where layers are recurrent.
enum class Recurrent : uint8_t { kMamba, kMamba2, kGatedDelta };

// Layers from L/2 + 2 on. All of them read the keys of layer L/2 + 1, or a memory.
enum class CrossDecoder : uint8_t { kNone, kCross, kGatedAndCross, kGated };

struct Architecture {
  std::string_view name;
  SelfDecoder self = SelfDecoder::kFull;
  Recurrent recurrent = Recurrent::kMamba;
  CrossDecoder cross = CrossDecoder::kNone;
  MemorySource memory = MemorySource::kMixer;  // in layer L/2, or in L/2 + 1 if `memory_of_attention`
  bool memory_of_attention = false;            // the layer of the shared keys writes the memory, not the SSM
  bool rope = false;
  bool differential = false;
  bool layer_norm = false;
  bool biases = false;             // on q, k, v and the output projection
  bool normalised_memory = false;  // gated memory units have a norm behind the gate
  bool published_layout = false;   // names and configuration are those of a published checkpoint
  int64_t window = 0;              // default of sliding_window; 0: no layer is windowed
  bool may_be_windowed() const { return window > 0 || self == SelfDecoder::kFull; }
};

// All rows, in the order of the paper.
const std::vector<Architecture>& hybrid_architectures();

// kInvalid for an unknown name.
Result<Architecture> find_hybrid(std::string_view name);

enum class MixerKind : uint8_t {
  kFullAttention,
  kWindowAttention,
  kCrossAttention,
  kRecurrent,
  kGatedMemory
};

// Layers of the cross-decoder of an architecture that has one, of `num_layers` in all.
inline int64_t cross_decoder_layers(int64_t num_layers) { return num_layers - (num_layers / 2 + 2); }

// The mixer of layer `index` of `num_layers` (a multiple of four with a cross-decoder).
MixerKind mixer_of(const Architecture& architecture, int64_t index, int64_t num_layers);

}  // namespace fathom
