// The mixers that carry a state from token to token, and the gated memory units that read what one of them
// left (Decoder-Hybrid-Decoder, sections 2 and 3).
#include "plan/recurrent_blocks.h"

#include <cmath>
#include <utility>

#include "base/extents.h"
#include "plan/plan_builder.h"

namespace fathom {

namespace {

constexpr double kGateNormEps = 1e-5;  // of every norm behind a gate, whatever the layers' norms have

Init constant(double value) { return {.kind = InitKind::kConstant, .a = value}; }

// The published default of a depthwise convolution: its fan-in is its width.
Init conv_init(int64_t width) {
  return {.kind = InitKind::kUniform, .a = 1 / std::sqrt(static_cast<double>(width))};
}

Init dt_init() { return {.kind = InitKind::kInverseSoftplusDt, .a = 1e-3, .b = 0.1, .floor = 1e-4}; }

// Decay rates of heads, U(low, 16); not 0, whose logarithm no optimizer moves.
Init rate_init(double low) { return {.kind = InitKind::kLogUniform, .a = low, .b = 16, .floor = 1e-6}; }

}  // namespace

Mamba PlanBuilder::mamba(const LayerPlace& place) {
  const ModelSpec& s = spec();
  const int64_t hidden = s.hidden_size;
  Mamba mamba;
  mamba.inner = s.mamba_expand * hidden;
  mamba.state = s.mamba_d_state;
  mamba.conv = s.mamba_d_conv;
  mamba.dt_rank = ceil_div(hidden, 16);
  const auto matrix = [&](const char* name, int64_t out, int64_t in, ParamRole role = ParamRole::kMatrix) {
    return add(place, false, name, {out, in}, role, init_.matrix(in));
  };
  mamba.a_log = add(place, false, "mamba.a_log", {mamba.inner, mamba.state}, ParamRole::kSsmA,
                    {.kind = InitKind::kLogRange, .a = 0});
  mamba.d = add(place, false, "mamba.d", {mamba.inner}, ParamRole::kSsmD, constant(1));
  mamba.in_x = matrix("mamba.in_x", mamba.inner, hidden);
  mamba.in_z = matrix("mamba.in_z", mamba.inner, hidden);
  const Init conv = conv_init(mamba.conv);
  mamba.conv_weight =
      add(place, false, "mamba.conv_weight", {mamba.inner, mamba.conv}, ParamRole::kConv, conv);
  mamba.conv_bias = add(place, false, "mamba.conv_bias", {mamba.inner}, ParamRole::kBias, conv);
  mamba.x_proj = matrix("mamba.x_proj", mamba.dt_rank + 2 * mamba.state, mamba.inner);
  mamba.dt_proj = matrix("mamba.dt_proj", mamba.inner, mamba.dt_rank, ParamRole::kRateMatrix);
  mamba.dt_bias = add(place, false, "mamba.dt_bias", {mamba.inner}, ParamRole::kDtBias, dt_init());
  mamba.out_proj = add(place, false, "mamba.out_proj", {hidden, mamba.inner}, ParamRole::kMatrix,
                       init_.residual(mamba.inner));
  return mamba;
}

int64_t mamba2_inner(const ModelSpec& spec) {
  const int64_t multiple = spec.mamba2_inner_multiple;
  return multiple * ceil_div(spec.mamba_expand * spec.hidden_size, multiple);
}

Mamba2 PlanBuilder::mamba2(const LayerPlace& place) {
  const ModelSpec& s = spec();
  const int64_t hidden = s.hidden_size;
  Mamba2 mamba;
  mamba.head_dim = s.mamba2_head_dim;
  mamba.heads = mamba2_inner(s) / mamba.head_dim;
  mamba.state = s.mamba2_d_state;
  mamba.conv = s.mamba_d_conv;
  mamba.norm_eps = kGateNormEps;
  const auto in_proj = [&](const char* name, int64_t out, ParamRole role = ParamRole::kMatrix) {
    return add(place, false, name, {out, hidden}, role, init_.matrix(hidden));
  };
  const auto of_heads = [&](const char* name, ParamRole role, const Init& init) {
    return add(place, false, name, {mamba.heads}, role, init);
  };
  mamba.a_log = of_heads("mamba2.a_log", ParamRole::kSsmA, rate_init(1));
  mamba.d = of_heads("mamba2.d", ParamRole::kSsmD, constant(1));
  mamba.dt_bias = of_heads("mamba2.dt_bias", ParamRole::kDtBias, dt_init());
  mamba.in_z = in_proj("mamba2.in_z", mamba.inner());
  mamba.in_xbc = in_proj("mamba2.in_xbc", mamba.channels());
  mamba.in_dt = in_proj("mamba2.in_dt", mamba.heads, ParamRole::kRateMatrix);
  const Init conv = conv_init(mamba.conv);
  mamba.conv_weight =
      add(place, false, "mamba2.conv_weight", {mamba.channels(), mamba.conv}, ParamRole::kConv, conv);
  mamba.conv_bias = add(place, false, "mamba2.conv_bias", {mamba.channels()}, ParamRole::kBias, conv);
  mamba.norm = add(place, false, "mamba2.norm", {mamba.inner()}, ParamRole::kNorm, constant(1));
  mamba.out_proj = add(place, false, "mamba2.out_proj", {hidden, mamba.inner()}, ParamRole::kMatrix,
                       init_.residual(mamba.inner()));
  return mamba;
}

int64_t gated_delta_heads(const ModelSpec& spec) {
  return ceil_div(3 * spec.hidden_size / 4, spec.gdn_key_dim);
}

GatedDelta PlanBuilder::gated_delta(const LayerPlace& place) {
  const ModelSpec& s = spec();
  const int64_t hidden = s.hidden_size;
  GatedDelta delta;
  delta.heads = gated_delta_heads(s);
  delta.key_dim = s.gdn_key_dim;
  delta.value_dim = s.gdn_value_dim;
  delta.conv = s.mamba_d_conv;
  delta.norm_eps = kGateNormEps;
  const auto in_proj = [&](const char* name, int64_t out, ParamRole role = ParamRole::kMatrix) {
    return add(place, false, name, {out, hidden}, role, init_.matrix(hidden));
  };
  const auto conv = [&](const char* name, int64_t channels) {
    return add(place, false, name, {channels, delta.conv}, ParamRole::kConv, conv_init(delta.conv));
  };
  delta.a_log = add(place, false, "gated_delta.a_log", {delta.heads}, ParamRole::kSsmA, rate_init(0));
  delta.dt_bias = add(place, false, "gated_delta.dt_bias", {delta.heads}, ParamRole::kDtBias, dt_init());
  delta.q = in_proj("gated_delta.q", delta.keys());
  delta.k = in_proj("gated_delta.k", delta.keys());
  delta.v = in_proj("gated_delta.v", delta.values());
  delta.g = in_proj("gated_delta.g", delta.values());
  delta.a = in_proj("gated_delta.a", delta.heads, ParamRole::kRateMatrix);
  delta.b = in_proj("gated_delta.b", delta.heads, ParamRole::kRateMatrix);
  delta.q_conv = conv("gated_delta.q_conv", delta.keys());
  delta.k_conv = conv("gated_delta.k_conv", delta.keys());
  delta.v_conv = conv("gated_delta.v_conv", delta.values());
  delta.norm = add(place, false, "gated_delta.norm", {delta.values()}, ParamRole::kNorm, constant(1));
  delta.o = add(place, false, "gated_delta.o", {hidden, delta.values()}, ParamRole::kMatrix,
                init_.residual(delta.values()));
  return delta;
}

GatedMemory PlanBuilder::gated_memory(const LayerPlace& place, int64_t inner, bool normalised) {
  const int64_t hidden = spec().hidden_size;
  GatedMemory gmu;
  gmu.inner = inner;
  gmu.in_proj = add(place, false, "gmu.in_proj", {inner, hidden}, ParamRole::kMatrix, init_.matrix(hidden));
  if (normalised) {
    gmu.norm_eps = kGateNormEps;
    gmu.norm = add(place, false, "gmu.norm", {inner}, ParamRole::kNorm, constant(1));
  }
  gmu.out_proj =
      add(place, false, "gmu.out_proj", {hidden, inner}, ParamRole::kMatrix, init_.residual(inner));
  return gmu;
}

Slot state_of(const Mamba& mamba) {
  return {.name = {},
          .kind = SlotKind::kSsmState,
          .inner = mamba.inner,
          .state = mamba.state,
          .conv = mamba.conv,
          .channels = mamba.inner};
}

Slot state_of(const Mamba2& mamba) {
  return {.name = {},
          .kind = SlotKind::kSsmState,
          .inner = mamba.inner(),
          .state = mamba.state,
          .conv = mamba.conv,
          .channels = mamba.channels()};
}

Slot state_of(const GatedDelta& delta) {
  return {.name = {},
          .kind = SlotKind::kSsmState,
          .inner = delta.keys(),
          .state = delta.value_dim,
          .conv = delta.conv,
          .channels = 2 * delta.keys() + delta.values()};
}

SlotId PlanBuilder::ssm_slot(const LayerPlace& place, Slot state) {
  state.name = "ssm." + std::to_string(place.index);
  return add_slot(std::move(state));
}

}  // namespace fathom
