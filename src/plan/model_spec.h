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

// Which layers of a vanilla model of the same unrolled depth the shared layers of a recursive model start
// from (Mixture-of-Recursions 2.3; plan/layer_sources.h has the rules).
enum class Initialization : uint8_t { kRandom, kStepwise, kAverage, kLower, kUpper };

enum class RouterKind : uint8_t { kExpertChoice, kTokenChoice };
enum class ScoreFunction : uint8_t { kSigmoid, kTanh, kNone, kSoftmax };
enum class Gating : uint8_t { kWeighted, kAdditive };
enum class RouterNetwork : uint8_t { kLinear, kMlp, kWideMlp };
// What teaches a router. Expert choice: the binary cross entropy of its own logits, or a second router that
// learns the same beside the model (3.4). Token choice: a loss on unequal loads, or a bias moved after each
// step (4).
enum class RouterLoss : uint8_t { kNone, kAuxLoss, kAuxRouter, kBalancing, kLossFree };

// Routing of one recursive segment (Mixture-of-Recursions, sections on expert- and token-choice routing).
struct RouterSpec {
  RouterKind kind = RouterKind::kExpertChoice;
  RouterNetwork network = RouterNetwork::kLinear;
  ScoreFunction score = ScoreFunction::kSigmoid;
  Gating gating = Gating::kWeighted;
  RouterLoss loss = RouterLoss::kAuxLoss;
  double alpha = 0.1;               // weight = alpha * score
  double temperature = 1.0;         // divides the router's input
  int64_t mlp_ratio = 2;            // hidden width of MLP routers over hidden_size (the paper's Wide-MLP: 4)
  double loss_coefficient = 0.001;  // of the auxiliary or balancing loss
  double bias_update = 0.001;       // kLossFree: what a step adds to or takes from a bias
  // Divides the auxiliary loss by the micro-batches of a step, as all other losses are. The published code
  // does not, so that its weight grows with their number (Mixture-of-Recursions 6.3).
  bool loss_per_step = false;
  double z_coefficient = 0.0;         // of the router z-loss; 0 is off
  int64_t capacity_warmup_steps = 0;  // expert choice, forward calls; 0 is off
  int64_t balance_warmup_steps =
      0;                         // token choice: forward calls before this one go the deepest way; 0: none
  bool random = false;           // scores drawn uniformly instead of computed
  std::vector<double> capacity;  // share of tokens per recursion, non-increasing; empty: (Nr - r + 1) / Nr
  // Not empty: each forward call of training draws its capacities between these and `capacity`, so that one
  // model serves many budgets; non-increasing, none above its capacity.
  std::vector<double> capacity_low;
  std::vector<double> threshold;  // causal rule: active at r > 1 iff logit >= threshold[r]; empty: 0
  bool operator==(const RouterSpec&) const = default;
};

// The published settings of a kind of routing.
inline RouterSpec default_router(RouterKind kind) {
  RouterSpec router;
  router.kind = kind;
  if (kind == RouterKind::kTokenChoice) {
    router.score = ScoreFunction::kSoftmax;
    router.alpha = 1.0;
    router.loss = RouterLoss::kBalancing;
    router.loss_coefficient = 0.1;
  }
  return router;
}

// Whose keys and values the recursions of a layer see: those of the rows of the same recursion; those that
// the first recursion wrote; those, replaced by the recursion's own where there are any (5.1).
enum class KvMode : uint8_t { kRecursionWise, kShared, kHybrid };

// What each depth of a shared layer has for itself (Mixture-of-Recursions, relaxation).
enum class RelaxationMethod : uint8_t { kLora, kDora, kAdaptionPrompt, kRecursionEncoding };
// How LoRA and DoRA start when the shared layers come from a vanilla model. With the best rank-r change of
// W_shared towards W_l, in the sense of the singular value decomposition: kPublished has B A equal to it, so
// that the model applies `scaling` times as much; kExact has scaling * B A equal to it.
enum class SvdInit : uint8_t { kNone, kPublished, kExact };
enum class Projection : uint8_t { kQ, kK, kV, kO, kGate, kUp, kDown };
constexpr bool is_of_keys(Projection projection) {
  return projection == Projection::kK || projection == Projection::kV;
}

struct RelaxationSpec {
  RelaxationMethod method = RelaxationMethod::kLora;
  // LoRA and DoRA.
  int64_t rank = 16;  // not above the smaller side of a matrix, which stands for it there
  double alpha = 0;   // B A is scaled by alpha / rank; 0: twice the rank, as published
  double dropout = 0.1;
  std::vector<Projection> targets = {Projection::kQ, Projection::kV};
  // Of q_proj, k_proj and v_proj, and of the projections of the MLP; 0: `rank`.
  int64_t attention_rank = 0, mlp_rank = 0;
  bool own_rank_scaling = false;  // B A is scaled by alpha over the rank that it has, instead of alpha / rank
  SvdInit svd_init = SvdInit::kNone;
  // Adaption prompts.
  int64_t prompt_length = 16;
  bool operator==(const RelaxationSpec&) const = default;
};

// Standard parametrisation, muP, muP++ (Decoder-Hybrid-Decoder, table 6).
enum class Parametrisation : uint8_t { kStandard, kMuP, kMuPPlusPlus };

struct ModelSpec {
  // "llama", or an architecture of the decoder-hybrid-decoder study: "transformer", "transformerls", "samba",
  // "swayoco", "sambayoco", "sambay", "sambayda", "mambay", "sambay2", "sgdny", ..., "phi4flash".
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

  // Mamba blocks; expand and d_conv are those of Mamba-2, d_conv that of Gated DeltaNet too.
  int64_t mamba_expand = 2;
  int64_t mamba_d_state = 16;
  int64_t mamba_d_conv = 4;
  int64_t mamba2_d_state = 128;
  int64_t mamba2_head_dim = 64;
  int64_t mamba2_inner_multiple = 512;  // the inner width is the next multiple of it
  // Gated DeltaNet: sizes of one head; keys of all heads fill three quarters of the width.
  int64_t gdn_key_dim = 256;
  int64_t gdn_value_dim = 512;

  // Recursion.
  Sharing sharing = Sharing::kNone;
  int64_t num_recursion = 1;
  bool share_norms = true;
  bool share_attention = true;  // false: the first public release of MoR, attention untied per recursion
  KvMode kv = KvMode::kRecursionWise;
  // Which layers share keys and values, as `sharing` says it of weights, where kShared is all that recurs.
  Sharing kv_sharing = Sharing::kCycle;
  std::optional<Initialization> initialization;  // unset: fresh, and no start from a vanilla model
  // The baseline "reduced depth" (Mixture-of-Recursions 2.1): with num_recursion = 1, this many of
  // num_hidden_layers stay, each run once. 0: the model is recursive.
  int64_t base_depth = 0;
  std::optional<RouterSpec> router;
  std::optional<RelaxationSpec> relaxation;

  Parametrisation parametrisation = Parametrisation::kStandard;
  int64_t mup_base_depth = 16;
  bool operator==(const ModelSpec&) const = default;
};

}  // namespace fathom
