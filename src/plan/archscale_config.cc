#include <algorithm>
#include <cmath>

#include "plan/architecture.h"
#include "plan/config_dialects.h"
#include "plan/field_reader.h"
#include "plan/recurrent_blocks.h"

namespace fathom {

namespace {

constexpr int64_t kStatedNoWindow = -1;
constexpr int64_t kBaseHeadDim = 128;

// "sambay_d16" -> "sambay".
std::string architecture_name(const std::string& config_name) {
  const std::string name = config_name.substr(0, config_name.rfind("_d"));
  return name == "phi4miniflash" ? "phi4flash" : name;
}

// The switches from which the training code makes the layers; they must be those of the named architecture.
Status check_switches(FieldReader& reader, const Architecture& a) {
  const auto check = [&](const char* key, const nlohmann::json& expected) -> Status {
    const nlohmann::json& found = reader.raw(key);
    if (!reader.has(key) || found == expected) return {};
    return not_supported("not supported yet: " + std::string(key) + " = " + found.dump() + " in " +
                         std::string(a.name) + ", which has " + expected.dump());
  };
  const bool all_gated = a.cross == CrossDecoder::kGated;
  const bool gated = all_gated || a.cross == CrossDecoder::kGatedAndCross;
  const bool of_mlp = a.memory_of_attention && a.memory == MemorySource::kMlpUp;
  FATHOM_TRY(check("yoco", a.cross != CrossDecoder::kNone));
  FATHOM_TRY(check("gmu_yoco", gated));
  if (gated) FATHOM_TRY(check("gmu_per_layer", all_gated ? 1 : 2));
  FATHOM_TRY(check("gmu_attn", a.memory_of_attention && !of_mlp));
  FATHOM_TRY(check("gmu_mlp", of_mlp));
  FATHOM_TRY(check("nope", !a.rope));
  FATHOM_TRY(check("use_da", a.differential));
  if (a.layer_norm) FATHOM_TRY(check("_norm_class", "LayerNorm"));
  if (!a.layer_norm && reader.raw("_norm_class") != "RMSNorm")
    FATHOM_TRY(check("_norm_class", "FusedRMSNorm"));
  const int64_t expected =
      a.self == SelfDecoder::kRecurrent ? 1 : (a.self == SelfDecoder::kRecurrentAndWindow ? 2 : -1);
  int64_t recurrent = expected;
  FATHOM_TRY(reader.integer("rnn_per_layer", recurrent));
  if (std::max<int64_t>(recurrent, 0) != std::max<int64_t>(expected, 0))
    return invalid("rnn_per_layer: found " + std::to_string(recurrent) + ", expected " +
                   std::to_string(expected) + " for " + std::string(a.name));
  const char* const types[] = {"mamba", "mamba2", "gdn"};  // by Recurrent
  return check("rnn_type", types[static_cast<size_t>(a.recurrent)]);
}

// Projections of attention have biases all of them or none; those of Phi-4-mini-flash always.
Status read_biases(FieldReader& reader, const Architecture& a, ModelSpec& spec) {
  bool in = a.biases, out = a.biases;
  FATHOM_TRY(reader.boolean("attn_bias", in));
  FATHOM_TRY(reader.boolean("attn_out_bias", out));
  if (in != out || (a.biases && !in)) {
    return not_supported("not supported yet: attn_bias = " + std::string(in ? "true" : "false") +
                         " with attn_out_bias = " + (out ? "true" : "false") + " in " + std::string(a.name));
  }
  spec.attention_bias = in && !a.biases;
  return {};
}

// Sizes that the training code computes where a configuration does not say them.
Status read_sizes(FieldReader& reader, ModelSpec& spec) {
  constexpr int64_t kMost = int64_t{1} << 31;
  FATHOM_TRY(reader.integer("n_layer", spec.num_hidden_layers, Presence::kRequired));
  FATHOM_TRY(reader.integer("n_embd", spec.hidden_size, Presence::kRequired));
  FATHOM_TRY(reader.integer("n_head", spec.num_attention_heads, Presence::kRequired));
  spec.num_key_value_heads = spec.num_attention_heads;
  if (!reader.raw("n_query_groups").is_null())
    FATHOM_TRY(reader.integer("n_query_groups", spec.num_key_value_heads));
  int64_t vocabulary = 0, multiple = 1, expand = 0;
  FATHOM_TRY(reader.integer("vocab_size", vocabulary));
  FATHOM_TRY(reader.integer("padding_multiple", multiple));
  FATHOM_TRY(reader.integer("mlp_expand", expand));
  const bool pads = vocabulary > 0 && vocabulary < kMost && multiple > 0 && multiple < kMost;
  const bool expands = expand > 0 && expand < kMost && spec.hidden_size > 0 && spec.hidden_size < kMost;
  if (pads) spec.vocab_size = (vocabulary + multiple - 1) / multiple * multiple;
  if (expands) spec.intermediate_size = expand * spec.hidden_size;
  FATHOM_TRY(
      reader.integer("padded_vocab_size", spec.vocab_size, pads ? Presence::kOptional : Presence::kRequired));
  return reader.integer("intermediate_size", spec.intermediate_size,
                        expands ? Presence::kOptional : Presence::kRequired);
}

// Layer l has full attention, whatever its architecture says, where l % full_per_layer is the last remainder.
Status check_full_layers(FieldReader& reader, const Architecture& a, const ModelSpec& spec) {
  int64_t period = 0;
  FATHOM_TRY(reader.integer("full_per_layer", period));
  if (!reader.has("full_per_layer") || spec.sliding_window == kNoWindow) return {};
  if (period < 1) return invalid("full_per_layer: found " + std::to_string(period) + ", expected at least 1");
  constexpr int64_t kMostLayers = 4096;  // check_spec() refuses more in its words
  for (int64_t layer = 0; layer < std::min(spec.num_hidden_layers, kMostLayers); ++layer) {
    const MixerKind kind = mixer_of(a, layer, spec.num_hidden_layers);
    const bool windowed = spec.sliding_window > 0 && (kind == MixerKind::kWindowAttention ||
                                                      (kind == MixerKind::kFullAttention && a.window == 0));
    const bool full = layer % period == period - 1;
    const bool by_period = a.self == SelfDecoder::kEveryFourthFull && kind == MixerKind::kFullAttention;
    if ((windowed && full) || (by_period && !full)) {
      return not_supported("not supported yet: full_per_layer = " + std::to_string(period) + ", with which " +
                           std::string(a.name) + " has other layers of full attention");
    }
  }
  return {};
}

// Sizes of Mamba-2 that the training code has as constants, where a configuration says them.
Status read_mamba2_constants(FieldReader& reader, ModelSpec& spec) {
  FATHOM_TRY(reader.integer("headdim", spec.mamba2_head_dim));
  FATHOM_TRY(reader.integer("d_state", spec.mamba2_d_state));
  FATHOM_TRY(reader.integer("d_inner_multiple", spec.mamba2_inner_multiple));
  FATHOM_TRY(reader.integer("d_conv", spec.mamba_d_conv));
  FATHOM_TRY(reader.only("ngroups", 1));
  FATHOM_TRY(reader.only("norm_eps", 1e-5));
  reader.ignore({"note"});
  return reader.finish();
}

// Those of Gated DeltaNet. The number of heads is no size of its own.
Status read_gdn_constants(FieldReader& reader, ModelSpec& spec) {
  constexpr int64_t kMost = 1 << 20;
  int64_t expand = 2;
  FATHOM_TRY(reader.integer("head_dim", spec.gdn_key_dim));
  FATHOM_TRY(reader.integer("expand_v", expand));
  FATHOM_TRY(reader.integer("conv", spec.mamba_d_conv));
  FATHOM_TRY(reader.only("norm_eps", 1e-5));
  FATHOM_TRY(reader.only("allow_neg_eigval", true));
  if (spec.gdn_key_dim < 1 || spec.gdn_key_dim > kMost || expand < 1 || expand > kMost) {
    return invalid("gdn_constants: found head_dim " + std::to_string(spec.gdn_key_dim) + ", expand_v " +
                   std::to_string(expand) + ", expected 1 to " + std::to_string(kMost));
  }
  spec.gdn_value_dim = expand * spec.gdn_key_dim;
  const nlohmann::json& heads = reader.raw("num_heads");
  const bool sane = spec.hidden_size > 0 && spec.hidden_size <= kMost;  // check_spec() says so in its words
  if (sane && !heads.is_null() && heads != gated_delta_heads(spec)) {
    return invalid("gdn_constants.num_heads: found " + heads.dump() + ", expected " +
                   std::to_string(gated_delta_heads(spec)) + " for a width of " +
                   std::to_string(spec.hidden_size));
  }
  return reader.finish();
}

Status read_constants(FieldReader& outer, const Architecture& a, ModelSpec& spec) {
  if (a.recurrent == Recurrent::kMamba) return {};
  const bool delta = a.recurrent == Recurrent::kGatedDelta;
  const std::string key = delta ? "gdn_constants" : "mamba2_constants";
  const nlohmann::json& object = outer.raw(key);
  if (object.is_null()) return {};
  if (!object.is_object()) return invalid(key + ": expected an object");
  FieldReader reader(object, key + ".");
  return delta ? read_gdn_constants(reader, spec) : read_mamba2_constants(reader, spec);
}

// Options of the training code that Fathom has in one setting only.
Status check_fixed(FieldReader& reader) {
  FATHOM_TRY(reader.only("_mlp_class", "LLaMAMLP"));
  FATHOM_TRY(reader.only("rotary_percentage", 1.0));
  FATHOM_TRY(reader.only("condense_ratio", 1));
  FATHOM_TRY(reader.only("w_init0", 1.0));
  FATHOM_TRY(reader.only("mlp", true));
  FATHOM_TRY(reader.only("rms_norm", true));
  FATHOM_TRY(reader.only("attn_layer_pos", nullptr));
  FATHOM_TRY(reader.only("attn_scale", nullptr));
  for (const char* key : {"bias", "sc_attn", "scale_embed", "mlp_relu2", "jamba_norm", "add_sink",
                          "full_swa_extend", "da_const_lamb", "no_mlp_bias", "use_sigmoid", "yoco_nope"}) {
    FATHOM_TRY(reader.only(key, false));
  }
  return {};
}

Status read_parametrisation(FieldReader& reader, ModelSpec& spec) {
  bool mup = false, original = false;
  FATHOM_TRY(reader.boolean("mup", mup));
  FATHOM_TRY(reader.boolean("original_mup", original));
  FATHOM_TRY(reader.integer("mup_d0", spec.mup_base_depth));
  if (mup) spec.parametrisation = original ? Parametrisation::kMuP : Parametrisation::kMuPPlusPlus;
  // Of muP: the width of a head at which scores are divided by its root.
  int64_t base_head_dim = kBaseHeadDim;
  FATHOM_TRY(reader.integer("mup_hd0", base_head_dim));
  if (mup && base_head_dim != kBaseHeadDim) {
    if (base_head_dim < 1)
      return invalid("mup_hd0: found " + std::to_string(base_head_dim) + ", expected at least 1");
    const int64_t head_dim = spec.head_dim > 0 || spec.num_attention_heads < 1
                                 ? spec.head_dim
                                 : spec.hidden_size / spec.num_attention_heads;
    if (head_dim > 0)
      spec.attention_scale = std::sqrt(static_cast<double>(base_head_dim)) / static_cast<double>(head_dim);
  }
  return reader.boolean("tied_embed", spec.tie_word_embeddings);
}

}  // namespace

Result<ModelSpec> read_archscale_config(const nlohmann::json& object) {
  ModelSpec spec;
  spec.tie_word_embeddings = false;
  FieldReader reader(object);
  std::string name;
  FATHOM_TRY(reader.string("name", name, Presence::kRequired));
  spec.architecture = architecture_name(name);
  const Result<Architecture> known = find_hybrid(spec.architecture);
  if (!known.ok())
    return not_supported("not supported yet: model \"" + name + "\"; " + known.error().message);
  const Architecture& architecture = *known;

  FATHOM_TRY(read_sizes(reader, spec));
  FATHOM_TRY(read_biases(reader, architecture, spec));
  // Absent or null: the width over the number of heads.
  if (!reader.raw("head_dim").is_null()) FATHOM_TRY(reader.integer("head_dim", spec.head_dim));
  FATHOM_TRY(reader.integer("block_size", spec.max_position_embeddings));
  FATHOM_TRY(reader.number("norm_eps", spec.norm_eps));
  int64_t window = kStatedNoWindow;
  FATHOM_TRY(reader.integer("local_window", window));
  if (architecture.window > 0 || (architecture.may_be_windowed() && window != kStatedNoWindow)) {
    if (window < 1 && window != kStatedNoWindow) {
      return invalid("local_window: found " + std::to_string(window) + ", expected at least 1, or -1, for " +
                     spec.architecture);
    }
    // Without a window these layers see everything, as they do through one that no context fills.
    spec.sliding_window = window == kStatedNoWindow ? kNoWindow : window;
  }
  double theta = 10000;
  FATHOM_TRY(reader.number("rope_base", theta));
  if (architecture.rope) {
    spec.rope_theta = theta;
    spec.rope_table_bf16 = true;
  }
  FATHOM_TRY(read_parametrisation(reader, spec));
  FATHOM_TRY(check_switches(reader, architecture));
  FATHOM_TRY(check_full_layers(reader, architecture, spec));
  FATHOM_TRY(read_constants(reader, architecture, spec));
  FATHOM_TRY(check_fixed(reader));
  reader.ignore({"org", "source_config_name", "vocab_size", "padding_multiple", "ar", "mlp_expand",
                 "use_cu_seqlen", "eos_token_id", "gmu_per_layer", "optimizer"});
  FATHOM_TRY(reader.finish());
  return spec;
}

}  // namespace fathom
