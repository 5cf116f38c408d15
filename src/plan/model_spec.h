// What a user writes: a model by the field's own words (the keys of Hugging Face configurations where they
// exist). Read from TOML (configs/models/), from config.json of a model directory, or made in code. A
// ModelSpec is only words and numbers; build_plan() (plan/model_plan.h) turns it into layers, slots and
// parameters, or refuses it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fathom {

// How the layers of a recursive model share weights (Mixture-of-Recursions, table "parameter-sharing
// strategies").
enum class Sharing : uint8_t { kNone, kCycle, kSequence, kMiddleCycle, kMiddleSequence };

enum class RouterKind : uint8_t { kExpertChoice, kTokenChoice };
enum class ScoreFunction : uint8_t { kSigmoid, kTanh, kNone, kSoftmax };
enum class Gating : uint8_t { kWeighted, kAdditive };
enum class RouterNetwork : uint8_t { kLinear, kMlp, kWideMlp };
enum class RouterLoss : uint8_t { kNone, kAuxLoss, kAuxRouter };

// Routing of one recursive segment (Mixture-of-Recursions, sections on expert- and token-choice routing).
struct RouterSpec {
  RouterKind kind = RouterKind::kExpertChoice;
  RouterNetwork network = RouterNetwork::kLinear;
  ScoreFunction score = ScoreFunction::kSigmoid;
  Gating gating = Gating::kWeighted;
  RouterLoss loss = RouterLoss::kAuxLoss;
  double alpha = 0.1;                 // weight = alpha * score
  double temperature = 1.0;           // divides the router's input
  double loss_coefficient = 0.001;    // of the auxiliary loss
  double z_coefficient = 0.0;         // of the router z-loss; 0 is off
  int64_t capacity_warmup_steps = 0;  // forward calls; 0 is off
  bool random = false;                // scores drawn uniformly instead of computed
  std::vector<double> capacity;   // share of tokens per recursion, non-increasing; empty: (Nr - r + 1) / Nr
  std::vector<double> threshold;  // causal rule: active at r > 1 iff logit >= threshold[r]; empty: 0
  bool operator==(const RouterSpec&) const = default;
};

enum class KvMode : uint8_t { kRecursionWise, kShared, kHybrid };

// Standard parametrisation, muP, muP++ (Decoder-Hybrid-Decoder, table 6).
enum class Parametrisation : uint8_t { kStandard, kMuP, kMuPPlusPlus };

struct ModelSpec {
  // "llama", or an architecture of the decoder-hybrid-decoder study: "transformer", "transformerls", "samba",
  // "swayoco", "sambayoco", "sambay", "sambayda", "mambay", ..., "phi4flash".
  std::string architecture = "llama";
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;  // unrolled
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;  // 0: hidden_size / num_attention_heads
  int64_t max_position_embeddings = 2048;
  double norm_eps = 1e-5;
  bool tie_word_embeddings = true;
  double initializer_range = 0.02;
  std::optional<double> rope_theta;  // unset: the architecture's default (none for the NoPE hybrids)
  bool rope_table_bf16 = false;      // cos and sin rounded to bfloat16, as the published SambaY code does
  bool rope_frequencies_bf16 =
      false;                   // the inverse frequencies rounded, as in a model turned to bfloat16 whole
  int64_t sliding_window = 0;  // keys a windowed layer sees, itself included; 0: the architecture's default
  double attention_scale = 0;  // 0: 1 / sqrt(head_dim)
  bool attention_bias = false;

  // Mamba blocks.
  int64_t mamba_expand = 2;
  int64_t mamba_d_state = 16;
  int64_t mamba_d_conv = 4;

  // Recursion.
  Sharing sharing = Sharing::kNone;
  int64_t num_recursion = 1;
  bool share_norms = true;
  bool share_attention = true;  // false: the first public release of MoR, attention untied per recursion
  KvMode kv = KvMode::kRecursionWise;
  std::optional<RouterSpec> router;

  Parametrisation parametrisation = Parametrisation::kStandard;
  int64_t mup_base_depth = 16;
  bool operator==(const ModelSpec&) const = default;
};

}  // namespace fathom
