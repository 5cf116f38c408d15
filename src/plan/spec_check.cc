#include "plan/spec_check.h"

#include <cmath>
#include <cstdio>
#include <limits>

#include "plan/spec_words.h"

namespace fathom {

namespace {

// Far above any model and far below what overflows when two sizes are multiplied.
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxVocabulary = int64_t{1} << 24;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxPositions = int64_t{1} << 30;
constexpr int64_t kMaxRecursion = 64;
constexpr int64_t kMaxCalls = int64_t{1} << 40;

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.10g", value);
  return buffer;
}

Status in_range(const char* field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return invalid(std::string(field) + ": found " + std::to_string(value) + ", expected " +
                 std::to_string(low) + " to " + std::to_string(high));
}

// Computations are in single precision: what it rounds to zero or infinity says nothing.
bool fits_float(double value) {
  const double magnitude = std::fabs(value);
  return value == 0 ||
         (magnitude >= std::numeric_limits<float>::min() && magnitude <= std::numeric_limits<float>::max());
}

Status positive(const char* field, double value) {
  if (fits_float(value) && value > 0) return {};
  return invalid(std::string(field) + ": found " + text(value) + ", expected a positive number");
}

Status at_least_zero(const char* field, double value) {
  if (fits_float(value) && value >= 0) return {};
  return invalid(std::string(field) + ": found " + text(value) + ", expected zero or a positive number");
}

Status check_sizes(ModelSpec& spec) {
  FATHOM_TRY(in_range("vocab_size", spec.vocab_size, 1, kMaxVocabulary));
  FATHOM_TRY(in_range("hidden_size", spec.hidden_size, 1, kMaxWidth));
  FATHOM_TRY(in_range("intermediate_size", spec.intermediate_size, 1, kMaxWidth));
  FATHOM_TRY(in_range("num_hidden_layers", spec.num_hidden_layers, 1, kMaxLayers));
  FATHOM_TRY(in_range("num_attention_heads", spec.num_attention_heads, 1, kMaxWidth));
  FATHOM_TRY(in_range("num_key_value_heads", spec.num_key_value_heads, 1, spec.num_attention_heads));
  if (spec.num_attention_heads % spec.num_key_value_heads != 0) {
    return invalid(
        "num_key_value_heads: found " + std::to_string(spec.num_key_value_heads) +
        ", expected a divisor of num_attention_heads = " + std::to_string(spec.num_attention_heads));
  }
  FATHOM_TRY(in_range("head_dim", spec.head_dim, 0, kMaxWidth));
  if (spec.head_dim == 0) {
    if (spec.hidden_size % spec.num_attention_heads != 0) {
      return invalid(
          "head_dim: absent, and hidden_size = " + std::to_string(spec.hidden_size) +
          " is not a multiple of num_attention_heads = " + std::to_string(spec.num_attention_heads));
    }
    spec.head_dim = spec.hidden_size / spec.num_attention_heads;
  }
  FATHOM_TRY(
      in_range("num_attention_heads * head_dim", spec.num_attention_heads * spec.head_dim, 1, kMaxWidth));
  FATHOM_TRY(in_range("max_position_embeddings", spec.max_position_embeddings, 1, kMaxPositions));
  FATHOM_TRY(in_range("sliding_window", spec.sliding_window, 0, kMaxPositions));
  FATHOM_TRY(positive("norm_eps", spec.norm_eps));
  FATHOM_TRY(positive("initializer_range", spec.initializer_range));
  FATHOM_TRY(at_least_zero("attention_scale", spec.attention_scale));
  if (spec.rope_theta) FATHOM_TRY(positive("rope_theta", *spec.rope_theta));
  FATHOM_TRY(in_range("mamba_expand", spec.mamba_expand, 1, 64));
  FATHOM_TRY(in_range("mamba_d_state", spec.mamba_d_state, 1, 4096));
  FATHOM_TRY(in_range("mamba_d_conv", spec.mamba_d_conv, 2, 64));
  FATHOM_TRY(in_range("mamba2_d_state", spec.mamba2_d_state, 1, 4096));
  FATHOM_TRY(in_range("mamba2_head_dim", spec.mamba2_head_dim, 1, 4096));
  FATHOM_TRY(in_range("mamba2_inner_multiple", spec.mamba2_inner_multiple, 1, kMaxWidth));
  FATHOM_TRY(in_range("gdn_key_dim", spec.gdn_key_dim, 1, 4096));
  FATHOM_TRY(in_range("gdn_value_dim", spec.gdn_value_dim, 1, 4096));
  FATHOM_TRY(in_range("mup_base_depth", spec.mup_base_depth, 1, kMaxLayers));
  return {};
}

bool is_middle(Sharing sharing) {
  return sharing == Sharing::kMiddleCycle || sharing == Sharing::kMiddleSequence;
}

// `outside` layers are not repeated.
Status check_shared_keys(const ModelSpec& spec, int64_t outside) {
  FATHOM_TRY(in_range("num_recursion", spec.num_recursion, 2, kMaxRecursion));
  const int64_t repeated = spec.num_hidden_layers - outside;
  if (repeated >= spec.num_recursion && repeated % spec.num_recursion == 0) return {};
  return invalid(
      "num_hidden_layers: " + std::to_string(repeated) +
      " repeated layers are not a multiple of num_recursion = " + std::to_string(spec.num_recursion) +
      ", and shared keys and values are undefined for layers that are dropped");
}

// Layers that share keys and values and no weights.
Status check_strategy_of_keys(const ModelSpec& spec) {
  const std::string found = "kv_sharing: found \"" + std::string(word_of(spec.kv_sharing)) + "\"";
  if (spec.kv_sharing == Sharing::kNone)
    return invalid(found + ", expected a strategy; kv = \"recursion_wise\" is to share none");
  if (spec.kv_sharing == ModelSpec().kv_sharing) return {};
  if (spec.sharing == Sharing::kNone && spec.kv == KvMode::kShared) return {};
  return invalid(found + ", which is defined for kv = \"shared\" without shared weights: layers that share " +
                 "these share keys and values alike");
}

// num_recursion = 1 with base_depth: fewer layers, and nothing that only recursions have.
Status check_reduced_depth(const ModelSpec& spec) {
  FATHOM_TRY(in_range("base_depth", spec.base_depth, 1, spec.num_hidden_layers));
  if (spec.num_recursion != 1) {
    return invalid("base_depth: found " + std::to_string(spec.base_depth) +
                   " with num_recursion = " + std::to_string(spec.num_recursion) +
                   ", expected num_recursion = 1, the baseline of reduced depth");
  }
  if (is_middle(spec.sharing)) {
    return invalid("sharing: found \"" + std::string(word_of(spec.sharing)) +
                   "\", but base_depth is defined for \"cycle\" and \"sequence\"");
  }
  if (!spec.share_norms || !spec.share_attention || spec.kv != KvMode::kRecursionWise || spec.router) {
    return invalid(
        "base_depth: a model of reduced depth has no recursions, expected neither a router nor kv, "
        "share_norms or share_attention beside it");
  }
  return {};
}

Status check_recursion(const ModelSpec& spec) {
  FATHOM_TRY(check_strategy_of_keys(spec));
  if (spec.sharing == Sharing::kNone) {
    if (spec.base_depth != 0) {
      return invalid("base_depth: found " + std::to_string(spec.base_depth) +
                     " without a sharing strategy, expected none");
    }
    if (spec.initialization) {
      return invalid("initialization: found \"" + std::string(word_of(*spec.initialization)) +
                     "\" without a sharing strategy, expected none: there are no shared layers to start");
    }
    if (spec.kv == KvMode::kHybrid)
      return invalid("kv: found \"hybrid\", which is defined for routed models only");
    if (spec.num_recursion != 1 && spec.kv == KvMode::kRecursionWise) {
      return invalid("num_recursion: found " + std::to_string(spec.num_recursion) +
                     " without a sharing strategy, expected 1");
    }
    if (!spec.share_norms || !spec.share_attention) {
      return invalid(std::string(spec.share_norms ? "share_attention" : "share_norms") +
                     ": found false without a sharing strategy, expected true");
    }
    if (spec.router) return invalid("router: a routed model needs sharing = \"cycle\" or \"middle_cycle\"");
    return spec.kv == KvMode::kShared ? check_shared_keys(spec, is_middle(spec.kv_sharing) ? 2 : 0)
                                      : Status();
  }
  if (spec.base_depth != 0) return check_reduced_depth(spec);
  FATHOM_TRY(in_range("num_recursion", spec.num_recursion, 2, kMaxRecursion));
  const int64_t outside = is_middle(spec.sharing) ? 2 : 0;
  const int64_t repeated = spec.num_hidden_layers - outside;
  if (repeated < spec.num_recursion) {
    return invalid("num_hidden_layers: found " + std::to_string(spec.num_hidden_layers) +
                   ", expected at least " + std::to_string(spec.num_recursion + outside) + " for " +
                   std::to_string(spec.num_recursion) + " recursions of " +
                   std::string(word_of(spec.sharing)));
  }
  if (spec.kv == KvMode::kRecursionWise) return {};
  if (spec.kv == KvMode::kHybrid && (!spec.router || spec.router->kind != RouterKind::kExpertChoice))
    return invalid("kv: found \"hybrid\", which is defined for expert choice only");
  return check_shared_keys(spec, outside);
}

Error wrong_word(const char* field, std::string_view found, const std::string& expected) {
  return invalid(std::string(field) + ": found \"" + std::string(found) + "\", " + expected);
}

Status check_expert_choice(const RouterSpec& router) {
  if (router.score == ScoreFunction::kSoftmax)
    return wrong_word("router.score", "softmax", "which is defined for token choice only");
  if (router.loss == RouterLoss::kBalancing || router.loss == RouterLoss::kLossFree)
    return wrong_word("router.loss", word_of(router.loss), "which is defined for token choice only");
  if (router.random && router.loss == RouterLoss::kAuxRouter)
    return invalid("router.loss: an auxiliary router cannot learn random scores");
  if (!router.random && router.loss == RouterLoss::kNone) {
    return wrong_word(
        "router.loss", "none",
        "but expert choice that learns no decision cannot route causally; expected \"aux_loss\" or "
        "\"aux_router\"");
  }
  if (router.balance_warmup_steps != 0)
    return invalid("router.balance_warmup_steps: defined for token choice only, expected 0");
  return {};
}

Status check_token_choice(const RouterSpec& router, const ModelSpec& spec) {
  if (spec.sharing == Sharing::kCycle && spec.architecture == "llama")
    return invalid("sharing: token choice is defined for \"middle_cycle\" only, found \"cycle\"");
  if (router.score != ScoreFunction::kSoftmax && router.score != ScoreFunction::kSigmoid) {
    return wrong_word("router.score", word_of(router.score),
                      "expected \"softmax\" or \"sigmoid\" for token choice");
  }
  if (router.loss == RouterLoss::kAuxLoss || router.loss == RouterLoss::kAuxRouter)
    return wrong_word("router.loss", word_of(router.loss), "which is defined for expert choice only");
  if (router.random && router.loss != RouterLoss::kNone) {
    return wrong_word("router.loss", word_of(router.loss),
                      "but random scores of token choice learn nothing; expected \"none\"");
  }
  if (router.random && router.z_coefficient != 0)
    return invalid("router.z_coefficient: random scores of token choice have no logits, expected 0");
  if (router.capacity_warmup_steps != 0)
    return invalid("router.capacity_warmup_steps: defined for expert choice only, expected 0");
  if (!router.capacity_low.empty()) return invalid("router.capacity_low: defined for expert choice only");
  return {};
}

// Shares of tokens, each of which takes part in the one before.
Status check_shares(const char* field, const std::vector<double>& shares) {
  for (size_t r = 0; r < shares.size(); ++r) {
    const std::string entry = std::string(field) + ": entry " + std::to_string(r) + " is " + text(shares[r]);
    if (!(shares[r] > 0 && shares[r] <= 1)) return invalid(entry + ", expected above 0 and at most 1");
    if (r > 0 && shares[r] > shares[r - 1])
      return invalid(entry + ", which is more than the " + text(shares[r - 1]) + " before it");
  }
  return {};
}

Status check_capacity_low(const RouterSpec& router) {
  FATHOM_TRY(check_shares("router.capacity_low", router.capacity_low));
  for (size_t r = 0; r < router.capacity_low.size(); ++r) {
    if (router.capacity_low[r] <= router.capacity[r]) continue;
    return invalid("router.capacity_low: entry " + std::to_string(r) + " is " + text(router.capacity_low[r]) +
                   ", which is more than the capacity of " + text(router.capacity[r]));
  }
  return {};
}

Status check_router(RouterSpec& router, const ModelSpec& spec) {
  if (spec.sharing != Sharing::kCycle && spec.sharing != Sharing::kMiddleCycle) {
    return invalid("sharing: found \"" + std::string(word_of(spec.sharing)) +
                   "\", but a routed model needs \"cycle\" or \"middle_cycle\"");
  }
  const auto depths = static_cast<size_t>(spec.num_recursion);
  const auto check_length = [&](const char* field, const std::vector<double>& list) -> Status {
    if (list.size() == depths) return {};
    return invalid(std::string(field) + ": found " + std::to_string(list.size()) + " entries, expected " +
                   std::to_string(depths) + ", one per recursion");
  };
  if (router.capacity.empty()) {
    for (size_t r = 0; r < depths; ++r)
      router.capacity.push_back(static_cast<double>(depths - r) / static_cast<double>(depths));
  }
  FATHOM_TRY(check_length("router.capacity", router.capacity));
  FATHOM_TRY(check_shares("router.capacity", router.capacity));
  if (!router.capacity_low.empty()) {
    FATHOM_TRY(check_length("router.capacity_low", router.capacity_low));
    FATHOM_TRY(check_capacity_low(router));
  }
  if (router.threshold.empty()) router.threshold.assign(depths, 0.0);
  FATHOM_TRY(check_length("router.threshold", router.threshold));
  for (double threshold : router.threshold) {
    if (!fits_float(threshold))
      return invalid("router.threshold: found " + text(threshold) + ", expected a number");
  }
  FATHOM_TRY(positive("router.alpha", router.alpha));
  FATHOM_TRY(positive("router.temperature", router.temperature));
  FATHOM_TRY(at_least_zero("router.loss_coefficient", router.loss_coefficient));
  FATHOM_TRY(at_least_zero("router.z_coefficient", router.z_coefficient));
  FATHOM_TRY(in_range("router.capacity_warmup_steps", router.capacity_warmup_steps, 0, kMaxCalls));
  FATHOM_TRY(in_range("router.balance_warmup_steps", router.balance_warmup_steps, 0, kMaxCalls));
  FATHOM_TRY(in_range("router.mlp_ratio", router.mlp_ratio, 1, 64));
  FATHOM_TRY(at_least_zero("router.bias_update", router.bias_update));
  return router.kind == RouterKind::kExpertChoice ? check_expert_choice(router)
                                                  : check_token_choice(router, spec);
}

bool has_targets(const RelaxationSpec& relaxation) {
  return relaxation.method == RelaxationMethod::kLora || relaxation.method == RelaxationMethod::kDora;
}

Status check_targets(const RelaxationSpec& relaxation) {
  if (relaxation.targets.empty())
    return invalid("relaxation.targets: empty, expected projections such as \"q_proj\", \"v_proj\"");
  for (size_t i = 0; i < relaxation.targets.size(); ++i) {
    const Projection target = relaxation.targets[i];
    const std::string name(word_of(target));
    for (size_t j = 0; j < i; ++j) {
      if (relaxation.targets[j] == target) return invalid("relaxation.targets: \"" + name + "\" twice");
    }
  }
  return {};
}

Status check_relaxation(RelaxationSpec& relaxation, const ModelSpec& spec) {
  if (spec.sharing == Sharing::kNone)
    return invalid("relaxation: of shared layers, and no layer is shared (sharing = \"none\")");
  if (relaxation.method == RelaxationMethod::kAdaptionPrompt)
    return in_range("relaxation.prompt_length", relaxation.prompt_length, 1, kMaxWidth);
  if (!has_targets(relaxation)) return {};
  FATHOM_TRY(in_range("relaxation.rank", relaxation.rank, 1, kMaxWidth));
  FATHOM_TRY(in_range("relaxation.attention_rank", relaxation.attention_rank, 0, kMaxWidth));
  FATHOM_TRY(in_range("relaxation.mlp_rank", relaxation.mlp_rank, 0, kMaxWidth));
  if (relaxation.alpha == 0) relaxation.alpha = 2 * static_cast<double>(relaxation.rank);
  FATHOM_TRY(positive("relaxation.alpha", relaxation.alpha));
  if (!(relaxation.dropout >= 0 && relaxation.dropout < 1)) {
    return invalid("relaxation.dropout: found " + text(relaxation.dropout) +
                   ", expected at least 0 and below 1");
  }
  return check_targets(relaxation);
}

}  // namespace

Result<ModelSpec> check_spec(const ModelSpec& given) {
  ModelSpec spec = given;
  FATHOM_TRY(check_sizes(spec));
  FATHOM_TRY(check_recursion(spec));
  if (spec.router) FATHOM_TRY(check_router(*spec.router, spec));
  if (spec.relaxation) FATHOM_TRY(check_relaxation(*spec.relaxation, spec));
  return spec;
}

}  // namespace fathom
