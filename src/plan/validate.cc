// Checks of a finished plan, whoever made it: parameters exist and have the shapes that blocks expect, slots
// are written once and before they are read.
#include <optional>
#include <set>
#include <string>

#include "base/extents.h"
#include "plan/model_plan.h"
#include "plan/recurrent_blocks.h"
#include "plan/spec_words.h"

namespace fathom {

namespace {

std::string text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

class Validator {
 public:
  explicit Validator(const ModelPlan& plan) : plan_(plan) {}

  Status run() {
    FATHOM_TRY(check_dims());
    FATHOM_TRY(check_params());
    FATHOM_TRY(check_slots());
    where_ = "model";
    repeat_ = 1;
    const int64_t hidden = plan_.dims.hidden_size;
    FATHOM_TRY(expect(plan_.embedding, {plan_.dims.vocab_size, hidden}, "embedding"));
    FATHOM_TRY(expect(plan_.head, {plan_.dims.vocab_size, hidden}, "head"));
    FATHOM_TRY(check_norm(plan_.final_norm, "final_norm"));
    if (plan_.segments.empty()) return invalid("plan: has no segments");
    writer_.assign(plan_.slots.size(), -1);
    for (const Segment& segment : plan_.segments) FATHOM_TRY(check_segment(segment));
    for (size_t s = 0; s < plan_.slots.size(); ++s) {
      if (writer_[s] < 0) return invalid("slot " + plan_.slots[s].name + ": no layer writes it");
    }
    return {};
  }

 private:
  Error wrong(const std::string& message) const { return invalid(where_ + ": " + message); }
  const Slot& slot(SlotId id) const { return plan_.slots[static_cast<size_t>(id)]; }

  Status check_dims() const {
    if (plan_.dims.vocab_size <= 0 || plan_.dims.hidden_size <= 0 || plan_.dims.max_positions <= 0)
      return invalid("plan: vocabulary, hidden size and positions must be positive");
    if (!(plan_.residual_scale > 0) || !(plan_.logit_scale > 0))
      return invalid("plan: residual and logit scale must be positive");
    return {};
  }

  Status check_params() const {
    constexpr uint64_t kMaxElements = uint64_t{1} << 46;  // of all parameters together
    std::set<std::string> names;
    uint64_t total = 0;
    for (const Param& param : plan_.params) {
      if (!names.insert(param.name).second) return invalid("parameter " + param.name + ": named twice");
      const auto elements = checked_elements(param.shape);
      if (!elements || *elements == 0 || *elements > kMaxElements)
        return invalid("parameter " + param.name + ": shape " + text(param.shape) + " is out of range");
      total += *elements;
      if (total > kMaxElements)
        return invalid("plan: more than " + std::to_string(kMaxElements) + " parameters at " + param.name);
    }
    return {};
  }

  Status check_slots() const {
    constexpr uint64_t kMaxEntries = uint64_t{1} << 56;  // of one sequence, without its full caches
    uint64_t entries = 0;
    for (const Slot& slot : plan_.slots) {
      const std::string name = "slot " + slot.name;
      if (slot.copies < 1)
        return invalid(name + ": " + std::to_string(slot.copies) + " copies, expected at least 1");
      const bool keys = slot.kind == SlotKind::kKv || slot.kind == SlotKind::kWindowKv;
      if (keys && (slot.num_kv_heads <= 0 || slot.head_dim <= 0))
        return invalid(name + ": heads and head size must be positive");
      if (slot.kind == SlotKind::kWindowKv && slot.window <= 0)
        return invalid(name + ": window " + std::to_string(slot.window) + ", expected at least 1");
      if (slot.kind == SlotKind::kKv && slot.window != 0)
        return invalid(name + ": a full cache with a window of " + std::to_string(slot.window));
      if (slot.kind == SlotKind::kSsmState &&
          (slot.inner <= 0 || slot.state <= 0 || slot.conv <= 1 || slot.channels <= 0))
        return invalid(name + ": inner, state and convolution sizes must be positive");
      if (slot.kind == SlotKind::kGmuMemory && slot.inner <= 0)
        return invalid(name + ": inner size must be positive");
      const std::optional<uint64_t> more = constant_entries(slot);
      if (!more || *more > kMaxEntries - entries)
        return invalid("plan: a sequence keeps more than " + std::to_string(kMaxEntries) + " numbers at " +
                       name);
      entries += *more;
    }
    return {};
  }

  // Numbers that the slot keeps however long the sequence is.
  static std::optional<uint64_t> constant_entries(const Slot& slot) {
    if (slot.kind == SlotKind::kWindowKv) {
      const int64_t shape[] = {2, slot.num_kv_heads, slot.head_dim, slot.window, slot.copies};
      return checked_elements(shape);
    }
    if (slot.kind != SlotKind::kSsmState) return 0;
    const int64_t state[] = {slot.inner, slot.state, slot.copies};
    const int64_t inputs[] = {slot.channels, slot.conv, slot.copies};
    const std::optional<uint64_t> one = checked_elements(state), other = checked_elements(inputs);
    return one && other ? checked_add(*one, *other) : std::nullopt;
  }

  // Every depth of `ref` is a parameter of this shape.
  Status expect(const ParamRef& ref, const std::vector<int64_t>& shape, const std::string& what) const {
    if (!ref.present()) return wrong(what + " is missing");
    for (int32_t depth = 0; depth < repeat_; ++depth) {
      const int32_t index = ref.at(depth);
      if (index < 0 || static_cast<size_t>(index) >= plan_.params.size())
        return wrong(what + " names parameter " + std::to_string(index) + " of " +
                     std::to_string(plan_.params.size()));
      const Param& param = plan_.params[static_cast<size_t>(index)];
      if (param.shape != shape) {
        return wrong(what + " is " + param.name + " of shape " + text(param.shape) + ", expected " +
                     text(shape));
      }
    }
    return {};
  }
  Status expect_if_present(const ParamRef& ref, const std::vector<int64_t>& shape,
                           const std::string& what) const {
    return ref.present() ? expect(ref, shape, what) : Status{};
  }

  Status check_norm(const Norm& norm, const std::string& what) const {
    const std::vector<int64_t> shape = {plan_.dims.hidden_size};
    FATHOM_TRY(expect(norm.weight, shape, what + ".weight"));
    if (!(norm.eps > 0)) return wrong(what + ".eps must be positive");
    if (norm.kind == NormKind::kLayerNorm) return expect(norm.bias, shape, what + ".bias");
    return norm.bias.present() ? Status(wrong(what + ".bias belongs to LayerNorm only")) : Status{};
  }

  Status check_segment(const Segment& segment) {
    if (segment.layers.empty()) return invalid("segment: has no layers");
    if (segment.repeat < 1)
      return invalid("segment of layer " + std::to_string(segment.layers.front().index) + ": repeat " +
                     std::to_string(segment.repeat) + ", expected at least 1");
    repeat_ = segment.repeat;
    where_ = "router of layer " + std::to_string(segment.layers.front().index);
    if (segment.router) FATHOM_TRY(check_router(*segment.router));
    if (segment.router.has_value() == (segment.combine == Combine::kReplace))
      return wrong(segment.router ? "a routed segment cannot replace its input"
                                  : "a segment without a router can only replace its input");
    for (const Layer& layer : segment.layers) {
      where_ = "layer " + std::to_string(layer.index);
      FATHOM_TRY(check_layer(segment, layer));
    }
    return {};
  }

  Status check_router(const Router& router) const {
    const auto depths = static_cast<size_t>(repeat_);
    if (router.spec.capacity.size() != depths || router.spec.threshold.size() != depths)
      return wrong("capacity and threshold need " + std::to_string(depths) + " entries, one per depth");
    if (router.spec.random)
      return router.weight.present() ? Status(wrong("random scores have no weight")) : Status{};
    const int64_t hidden = plan_.dims.hidden_size;
    const int64_t inner = router.spec.mlp_ratio * hidden;
    const int64_t in = router.hidden.present() ? inner : hidden;
    const bool expert = router.spec.kind == RouterKind::kExpertChoice;
    const std::vector<int64_t> shape = {expert ? 1 : repeat_, in};
    FATHOM_TRY(expect(router.weight, shape, "weight"));
    FATHOM_TRY(expect_if_present(router.hidden, {inner, hidden}, "hidden"));
    FATHOM_TRY(expect_if_present(router.bias, {repeat_}, "bias"));
    FATHOM_TRY(expect_if_present(router.aux_weight, shape, "aux_weight"));
    return expect_if_present(router.aux_hidden, {inner, hidden}, "aux_hidden");
  }

  Status check_layer(const Segment& segment, const Layer& layer) {
    FATHOM_TRY(check_norm(layer.norm1, "norm1"));
    FATHOM_TRY(check_norm(layer.norm2, "norm2"));
    for (SlotId id : layer.reads) FATHOM_TRY(check_read(layer, id));
    for (SlotId id : layer.writes) FATHOM_TRY(check_write(segment, layer, id));
    FATHOM_TRY(std::visit([&](const auto& mixer) { return check_mixer(layer, mixer); }, layer.mixer));
    const int64_t hidden = plan_.dims.hidden_size;
    FATHOM_TRY(expect(layer.mlp.gate, {layer.mlp.inner, hidden}, "mlp.gate"));
    FATHOM_TRY(expect(layer.mlp.up, {layer.mlp.inner, hidden}, "mlp.up"));
    FATHOM_TRY(expect(layer.mlp.down, {hidden, layer.mlp.inner}, "mlp.down"));
    FATHOM_TRY(expect_if_present(layer.encoding, {hidden}, "encoding"));
    for (const AdaptedMatrix& matrix : adapted_matrices(layer)) FATHOM_TRY(check_adapter(matrix));
    return {};
  }

  Status check_adapter(const AdaptedMatrix& matrix) const {
    const Adapter& adapter = *matrix.adapter;
    const std::string what = "adapter of " + std::string(word_of(matrix.projection));
    if (!matrix.weight.present()) return wrong(what + " has no matrix to change");
    const std::vector<int64_t>& shape = plan_.params[static_cast<size_t>(matrix.weight.first)].shape;
    FATHOM_TRY(expect(adapter.a, {adapter.rank, shape[1]}, what + ": a"));
    FATHOM_TRY(expect(adapter.b, {shape[0], adapter.rank}, what + ": b"));
    FATHOM_TRY(expect_if_present(adapter.magnitude, {shape[0]}, what + ": magnitude"));
    if (!(adapter.scaling > 0)) return wrong(what + ": the scaling must be positive");
    if (!(adapter.dropout >= 0 && adapter.dropout < 1)) return wrong(what + ": dropout lies in [0, 1)");
    return {};
  }

  Status check_id(SlotId id) const {
    if (id >= 0 && static_cast<size_t>(id) < plan_.slots.size()) return {};
    return wrong("names slot " + std::to_string(id) + " of " + std::to_string(plan_.slots.size()));
  }

  Status check_read(const Layer& /*layer*/, SlotId id) const {
    FATHOM_TRY(check_id(id));
    if (writer_[static_cast<size_t>(id)] < 0)
      return wrong("reads slot " + slot(id).name + ", which no earlier layer writes");
    if (slot(id).copies != 1) return wrong("reads slot " + slot(id).name + ", which has one state per depth");
    return {};
  }

  Status check_write(const Segment& segment, const Layer& layer, SlotId id) {
    FATHOM_TRY(check_id(id));
    int32_t& writer = writer_[static_cast<size_t>(id)];
    if (writer >= 0)
      return wrong("writes slot " + slot(id).name + ", which layer " + std::to_string(writer) +
                   " writes already");
    writer = layer.index;
    if (!slot(id).persistent()) {
      if (segment.repeat == 1 && !segment.router) return {};
      return wrong("writes slot " + slot(id).name + ", a memory, in a segment that is repeated or routed");
    }
    const bool per_depth = slot(id).kind == SlotKind::kSsmState || keys_per_depth(segment.kv);
    const int32_t copies = per_depth ? segment.repeat : 1;
    if (slot(id).copies == copies) return {};
    return wrong("writes slot " + slot(id).name + " of " + std::to_string(slot(id).copies) +
                 " copies, expected " + std::to_string(copies) + " for " + std::to_string(segment.repeat) +
                 " depths");
  }

  // The only slot of the given kinds in the list, or an error.
  Result<SlotId> only(const std::vector<SlotId>& list, std::initializer_list<SlotKind> kinds,
                      const std::string& what) const {
    SlotId found = -1;
    for (SlotId id : list) {
      for (SlotKind kind : kinds) {
        if (slot(id).kind != kind) continue;
        if (found >= 0) return wrong(what + " two slots, " + slot(found).name + " and " + slot(id).name);
        found = id;
      }
    }
    if (found < 0) return wrong(what + " no slot");
    return found;
  }

  Status check_mixer(const Layer& layer, const Attention& attention) const {
    if (attention.num_heads <= 0 || attention.num_kv_heads <= 0 || attention.head_dim <= 0 ||
        attention.num_heads % attention.num_kv_heads != 0) {
      return wrong(std::to_string(attention.num_heads) + " heads over " +
                   std::to_string(attention.num_kv_heads) + " key heads of size " +
                   std::to_string(attention.head_dim) + " is not a grouping");
    }
    if (attention.window < 0) return wrong("window " + std::to_string(attention.window) + " is negative");
    if (!(attention.scale > 0)) return wrong("the scale of the logits must be positive");
    if (attention.rope && attention.head_dim % 2 != 0)
      return wrong("rotary embedding needs an even head size, found " + std::to_string(attention.head_dim));
    const int64_t hidden = plan_.dims.hidden_size;
    const int64_t q = attention.num_heads * attention.head_dim;
    const int64_t kv = attention.num_kv_heads * attention.head_dim;
    FATHOM_TRY(expect(attention.q, {q, hidden}, "attention.q"));
    FATHOM_TRY(expect(attention.o, {hidden, q}, "attention.o"));
    FATHOM_TRY(expect_if_present(attention.q_bias, {q}, "attention.q_bias"));
    FATHOM_TRY(expect_if_present(attention.o_bias, {hidden}, "attention.o_bias"));
    const auto keys = {SlotKind::kKv, SlotKind::kWindowKv};
    FATHOM_ASSIGN(const SlotId id, attention.cross ? only(layer.reads, keys, "cross-attention reads")
                                                   : only(layer.writes, keys, "attention writes"));
    if (attention.cross) {
      if (attention.k.present() || attention.v.present())
        return wrong("cross-attention has no key and value projections of its own");
    } else {
      FATHOM_TRY(expect(attention.k, {kv, hidden}, "attention.k"));
      FATHOM_TRY(expect(attention.v, {kv, hidden}, "attention.v"));
      FATHOM_TRY(expect_if_present(attention.k_bias, {kv}, "attention.k_bias"));
      FATHOM_TRY(expect_if_present(attention.v_bias, {kv}, "attention.v_bias"));
    }
    if (slot(id).num_kv_heads != attention.num_kv_heads || slot(id).head_dim != attention.head_dim)
      return wrong("slot " + slot(id).name + " holds other heads than the attention has");
    // A cache that keeps fewer keys than the layer sees would silently forget.
    if (slot(id).window != attention.window && (slot(id).window != 0 || !attention.cross))
      return wrong("window " + std::to_string(attention.window) + ", but slot " + slot(id).name + " keeps " +
                   std::to_string(slot(id).window));
    if (attention.differential) FATHOM_TRY(check_differential(attention));
    if (attention.prompt) FATHOM_TRY(check_prompt(attention));
    return check_memory(layer, q);
  }

  Status check_prompt(const Attention& attention) const {
    if (attention.cross) return wrong("cross-attention has no keys that a prompt could have");
    const AdaptionPrompt& prompt = *attention.prompt;
    if (prompt.length < 1) return wrong("a prompt of " + std::to_string(prompt.length) + " tokens");
    FATHOM_TRY(expect(prompt.tokens, {1, prompt.length, plan_.dims.hidden_size}, "attention.prompt"));
    return expect(prompt.gate, {1}, "attention.prompt_gate");
  }

  Status check_differential(const Attention& attention) const {
    const Differential& d = *attention.differential;
    if (attention.num_kv_heads % 2 != 0)
      return wrong("differential attention pairs an even number of key heads");
    const std::vector<int64_t> shape = {attention.head_dim};
    FATHOM_TRY(expect(d.lambda_q1, shape, "lambda_q1"));
    FATHOM_TRY(expect(d.lambda_k1, shape, "lambda_k1"));
    FATHOM_TRY(expect(d.lambda_q2, shape, "lambda_q2"));
    FATHOM_TRY(expect(d.lambda_k2, shape, "lambda_k2"));
    return expect(d.sub_norm, {2 * attention.head_dim}, "sub_norm");
  }

  Status check_mixer(const Layer& layer, const Mamba& m) const {
    const int64_t hidden = plan_.dims.hidden_size;
    FATHOM_TRY(check_state(layer, state_of(m), "Mamba"));
    FATHOM_TRY(expect(m.in_x, {m.inner, hidden}, "mamba.in_x"));
    FATHOM_TRY(expect(m.in_z, {m.inner, hidden}, "mamba.in_z"));
    FATHOM_TRY(expect(m.conv_weight, {m.inner, m.conv}, "mamba.conv_weight"));
    FATHOM_TRY(expect(m.conv_bias, {m.inner}, "mamba.conv_bias"));
    FATHOM_TRY(expect(m.x_proj, {m.dt_rank + 2 * m.state, m.inner}, "mamba.x_proj"));
    FATHOM_TRY(expect(m.dt_proj, {m.inner, m.dt_rank}, "mamba.dt_proj"));
    FATHOM_TRY(expect(m.dt_bias, {m.inner}, "mamba.dt_bias"));
    FATHOM_TRY(expect(m.a_log, {m.inner, m.state}, "mamba.a_log"));
    FATHOM_TRY(expect(m.d, {m.inner}, "mamba.d"));
    FATHOM_TRY(expect(m.out_proj, {hidden, m.inner}, "mamba.out_proj"));
    return check_memory(layer, m.inner);
  }

  Status check_mixer(const Layer& layer, const Mamba2& m) const {
    const int64_t hidden = plan_.dims.hidden_size;
    if (m.heads <= 0 || m.head_dim <= 0 || m.groups <= 0 || m.heads % m.groups != 0)
      return wrong(std::to_string(m.heads) + " heads over " + std::to_string(m.groups) +
                   " groups is not a grouping");
    FATHOM_TRY(check_state(layer, state_of(m), "Mamba-2"));
    FATHOM_TRY(expect(m.in_z, {m.inner(), hidden}, "mamba2.in_z"));
    FATHOM_TRY(expect(m.in_xbc, {m.channels(), hidden}, "mamba2.in_xbc"));
    FATHOM_TRY(expect(m.in_dt, {m.heads, hidden}, "mamba2.in_dt"));
    FATHOM_TRY(expect(m.conv_weight, {m.channels(), m.conv}, "mamba2.conv_weight"));
    FATHOM_TRY(expect(m.conv_bias, {m.channels()}, "mamba2.conv_bias"));
    FATHOM_TRY(expect(m.dt_bias, {m.heads}, "mamba2.dt_bias"));
    FATHOM_TRY(expect(m.a_log, {m.heads}, "mamba2.a_log"));
    FATHOM_TRY(expect(m.d, {m.heads}, "mamba2.d"));
    FATHOM_TRY(expect(m.norm, {m.inner()}, "mamba2.norm"));
    if (!(m.norm_eps > 0)) return wrong("mamba2.norm_eps must be positive");
    FATHOM_TRY(expect(m.out_proj, {hidden, m.inner()}, "mamba2.out_proj"));
    return check_memory(layer, m.inner());
  }

  Status check_mixer(const Layer& layer, const GatedDelta& d) const {
    const int64_t hidden = plan_.dims.hidden_size;
    FATHOM_TRY(check_state(layer, state_of(d), "Gated DeltaNet"));
    FATHOM_TRY(expect(d.q, {d.keys(), hidden}, "gated_delta.q"));
    FATHOM_TRY(expect(d.k, {d.keys(), hidden}, "gated_delta.k"));
    FATHOM_TRY(expect(d.v, {d.values(), hidden}, "gated_delta.v"));
    FATHOM_TRY(expect(d.g, {d.values(), hidden}, "gated_delta.g"));
    FATHOM_TRY(expect(d.a, {d.heads, hidden}, "gated_delta.a"));
    FATHOM_TRY(expect(d.b, {d.heads, hidden}, "gated_delta.b"));
    FATHOM_TRY(expect(d.q_conv, {d.keys(), d.conv}, "gated_delta.q_conv"));
    FATHOM_TRY(expect(d.k_conv, {d.keys(), d.conv}, "gated_delta.k_conv"));
    FATHOM_TRY(expect(d.v_conv, {d.values(), d.conv}, "gated_delta.v_conv"));
    FATHOM_TRY(expect(d.dt_bias, {d.heads}, "gated_delta.dt_bias"));
    FATHOM_TRY(expect(d.a_log, {d.heads}, "gated_delta.a_log"));
    FATHOM_TRY(expect(d.norm, {d.values()}, "gated_delta.norm"));
    if (!(d.norm_eps > 0)) return wrong("gated_delta.norm_eps must be positive");
    FATHOM_TRY(expect(d.o, {hidden, d.values()}, "gated_delta.o"));
    return check_memory(layer, d.values());
  }

  // The layer writes one state, of the sizes that its mixer has.
  Status check_state(const Layer& layer, const Slot& sizes, const std::string& what) const {
    FATHOM_ASSIGN(const SlotId id, only(layer.writes, {SlotKind::kSsmState}, what + " writes"));
    const Slot& own = slot(id);
    if (own.inner == sizes.inner && own.state == sizes.state && own.conv == sizes.conv &&
        own.channels == sizes.channels)
      return {};
    return wrong("slot " + own.name + " has other sizes than the " + what + " block");
  }

  Status check_mixer(const Layer& layer, const GatedMemory& gmu) const {
    const int64_t hidden = plan_.dims.hidden_size;
    FATHOM_ASSIGN(const SlotId id, only(layer.reads, {SlotKind::kGmuMemory}, "a gated memory unit reads"));
    if (slot(id).inner != gmu.inner)
      return wrong("slot " + slot(id).name + " is " + std::to_string(slot(id).inner) +
                   " wide, but the gated memory unit is " + std::to_string(gmu.inner));
    FATHOM_TRY(expect(gmu.in_proj, {gmu.inner, hidden}, "gmu.in_proj"));
    FATHOM_TRY(expect_if_present(gmu.norm, {gmu.inner}, "gmu.norm"));
    if (gmu.norm.present() && !(gmu.norm_eps > 0)) return wrong("gmu.norm_eps must be positive");
    return expect(gmu.out_proj, {hidden, gmu.inner}, "gmu.out_proj");
  }

  // The memory that a layer writes is as wide as what it is taken from.
  Status check_memory(const Layer& layer, int64_t mixer_width) const {
    const int64_t width = layer.memory == MemorySource::kMlpUp ? layer.mlp.inner : mixer_width;
    for (SlotId id : layer.writes) {
      if (slot(id).kind == SlotKind::kGmuMemory && slot(id).inner != width)
        return wrong("slot " + slot(id).name + " is " + std::to_string(slot(id).inner) +
                     " wide, but the memory written to it is " + std::to_string(width));
    }
    return {};
  }

  const ModelPlan& plan_;
  std::string where_ = "plan";
  int32_t repeat_ = 1;
  std::vector<int32_t> writer_;  // by slot: the layer that writes it, -1 before it is met
};

}  // namespace

Status validate(const ModelPlan& plan) { return Validator(plan).run(); }

}  // namespace fathom
