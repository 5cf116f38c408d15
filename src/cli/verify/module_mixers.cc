// Attention, cross-attention and Mamba with their projections.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cli/verify/attention_core.h"
#include "cli/verify/module_case.h"
#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/gated_memory/gated_memory.h"
#include "kernels/rope/rope.h"
#include "kernels/selective_scan/selective_scan.h"

namespace fathom::cli::verify {

namespace {

using Values = std::vector<float>;
using kernels::RowRange;

Values values(int64_t count) { return Values(static_cast<size_t>(count)); }

void add_into(Values& sum, std::span<const float> more) {
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
}

// The fused projection holds, per KV group, the rows of its query heads, then its k, then its v.
struct FusedLayout {
  int64_t heads, kv_heads, head_dim;
  bool cross;
  int64_t per_group() const { return heads / kv_heads; }

  // Calls visit(target array 0 = q, 1 = k, 2 = v, its head, the fused head).
  template <class Visit>
  void for_each_head(const Visit& visit) const {
    int64_t fused = 0;
    for (int64_t g = 0; g < kv_heads; ++g) {
      for (int64_t h = 0; h < per_group(); ++h) visit(0, g * per_group() + h, fused++);
      if (cross) continue;
      visit(1, g, fused++);
      visit(2, g, fused++);
    }
  }
};

struct Projections {
  Values q, k, v;
  Values& of(int which) { return which == 0 ? q : which == 1 ? k : v; }
};

Projections split(const FusedLayout& layout, std::span<const float> fused, int64_t row) {
  Projections out{values(layout.heads * row), values(layout.cross ? 0 : layout.kv_heads * row),
                  values(layout.cross ? 0 : layout.kv_heads * row)};
  layout.for_each_head([&](int which, int64_t head, int64_t from) {
    std::copy_n(fused.begin() + from * row, row, out.of(which).begin() + head * row);
  });
  return out;
}

Values join(const FusedLayout& layout, Projections& parts, int64_t row) {
  Values fused = values((layout.heads + (layout.cross ? 0 : 2 * layout.kv_heads)) * row);
  layout.for_each_head([&](int which, int64_t head, int64_t to) {
    std::copy_n(parts.of(which).begin() + head * row, row, fused.begin() + to * row);
  });
  return fused;
}

}  // namespace

Status run_attention(ModuleCase& c, bool cross) {
  FATHOM_TRY(c.known_keys({"n_embd", "n_head", "n_query_groups", "head_dim", "local_window", "nope",
                           "rope_base", "softmax_scale", "attn_bias", "attn_out_bias", "qkv_layout"}));
  FATHOM_ASSIGN(const int64_t dim, c.size("n_embd"));
  FATHOM_ASSIGN(const int64_t heads, c.size("n_head"));
  FATHOM_ASSIGN(const int64_t kv_heads, c.size("n_query_groups"));
  FATHOM_ASSIGN(const int64_t head_dim, c.size("head_dim"));
  const int64_t window = std::max<int64_t>(0, c.config.value("local_window", int64_t{-1}));
  const bool rotary = !c.config.value("nope", true);
  const FusedLayout layout{heads, kv_heads, head_dim, cross};
  FATHOM_ASSIGN(const RecordedTensor* x, c.io.require("in.x"));
  FATHOM_ASSIGN(const RecordedTensor* grad_y, c.io.require("grad_out.y"));
  FATHOM_ASSIGN(const RecordedTensor* fused, c.weights.require("attn.attn.weight"));
  FATHOM_ASSIGN(const RecordedTensor* out_weight, c.weights.require("attn.proj.weight"));
  Values fused_bias, out_bias;
  if (c.config.value("attn_bias", false)) {
    FATHOM_ASSIGN(const RecordedTensor* bias, c.weights.require("attn.attn.bias"));
    fused_bias = bias->values;
  }
  if (c.config.value("attn_out_bias", false)) {
    FATHOM_ASSIGN(const RecordedTensor* bias, c.weights.require("attn.proj.bias"));
    out_bias = bias->values;
  }
  const int64_t batch = x->extent(0), length = x->extent(1), rows = batch * length;
  const int64_t q_dim = heads * head_dim, kv_dim = kv_heads * head_dim;
  Projections weight = split(layout, fused->values, head_dim * dim);
  Projections bias = fused_bias.empty() ? Projections{} : split(layout, fused_bias, head_dim);

  Values q = linear(x->values, weight.q, bias.q, rows, dim, q_dim, c.parallel), k, v;
  if (cross) {
    FATHOM_ASSIGN(const RecordedTensor* in_k, c.io.require("in.k"));
    FATHOM_ASSIGN(const RecordedTensor* in_v, c.io.require("in.v"));
    k = in_k->values;
    v = in_v->values;
  } else {
    k = linear(x->values, weight.k, bias.k, rows, dim, kv_dim, c.parallel);
    v = linear(x->values, weight.v, bias.v, rows, dim, kv_dim, c.parallel);
  }

  std::vector<int32_t> positions;
  for (int64_t r = 0; r < rows; ++r) positions.push_back(static_cast<int32_t>(r % length));
  Values cos = values(length * head_dim / 2), sin = values(length * head_dim / 2);
  if (rotary)
    kernels::rope_table(cos.data(), sin.data(), length, head_dim, c.config.value("rope_base", 10000.0), true);
  const auto rotate = [&](Values& array, int64_t array_heads, bool inverse) {
    if (!rotary) return;
    kernels::rope_fwd_cpu({array.data(), positions.data(), cos.data(), sin.data(), length, rows, array_heads,
                           head_dim, array_heads * head_dim, inverse},
                          c.parallel);
  };
  rotate(q, heads, false);
  if (!cross) rotate(k, kv_heads, false);
  if (!cross) {
    c.check("out.k", k);
    c.check("out.v", v);
  }

  const auto scale =
      c.config.value("softmax_scale", static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim))));
  AttentionCore core({.batch = batch,
                      .queries = length,
                      .keys = length,
                      .window = window,
                      .heads = heads,
                      .kv_heads = kv_heads,
                      .head_dim = head_dim,
                      .scale = scale},
                     std::move(q), std::move(k), std::move(v), c.parallel);
  const Values& mixed = core.out();
  c.check("out.y", linear(mixed, out_weight->values, out_bias, rows, q_dim, dim, c.parallel));

  const Values grad_mixed = linear_grad_x(grad_y->values, out_weight->values, rows, q_dim, dim);
  AttentionCore::Gradients of_core = core.backward(grad_mixed);
  Projections grad{std::move(of_core.q), std::move(of_core.k), std::move(of_core.v)};
  Values grad_x = values(rows * dim);
  Projections grad_weight, grad_bias;
  const auto through = [&](int which, int64_t out) {
    add_into(grad_x, linear_grad_x(grad.of(which), weight.of(which), rows, dim, out));
    grad_weight.of(which) = linear_grad_weight(grad.of(which), x->values, rows, dim, out);
    grad_bias.of(which) = sum_rows(grad.of(which), rows, out);
  };
  rotate(grad.q, heads, true);
  through(0, q_dim);
  if (cross) {
    c.check_gradient("grad_in.k", grad.k);
    c.check_gradient("grad_in.v", grad.v);
  } else {
    add_into(grad.k, c.io.at("grad_out.k").values);
    add_into(grad.v, c.io.at("grad_out.v").values);
    rotate(grad.k, kv_heads, true);
    through(1, kv_dim);
    through(2, kv_dim);
  }
  c.check_gradient("grad_in.x", grad_x);
  c.check_gradient("grad.attn.attn.weight", join(layout, grad_weight, head_dim * dim));
  c.check_gradient("grad.attn.proj.weight", linear_grad_weight(grad_y->values, mixed, rows, q_dim, dim));
  if (!fused_bias.empty()) c.check_gradient("grad.attn.attn.bias", join(layout, grad_bias, head_dim));
  if (!out_bias.empty()) c.check_gradient("grad.attn.proj.bias", sum_rows(grad_y->values, rows, dim));
  return {};
}

namespace {

struct MambaSizes {
  int64_t dim, inner, state, conv, dt_rank;
  int64_t bc() const { return dt_rank + 2 * state; }
};

// One call of the mixer over `length` rows of each sequence.
struct MambaRun {
  Values x, z, conv, dt_b_c, dt, y, gated, out, checkpoints;
};

MambaRun forward(ModuleCase& c, const MambaSizes& s, std::span<const float> in, int64_t batch, int64_t length,
                 Values& conv_state, Values& ssm_state, std::span<const float> rates, bool keep) {
  const int64_t rows = batch * length;
  const auto weight = [&](const char* name) -> const Values& { return c.weights.at(name).values; };
  const std::span<const float> in_proj = weight("in_proj.weight");
  const auto half = static_cast<size_t>(s.inner * s.dim);
  MambaRun run;
  run.x = linear(in, in_proj.first(half), {}, rows, s.dim, s.inner, c.parallel);
  run.z = linear(in, in_proj.last(half), {}, rows, s.dim, s.inner, c.parallel);
  run.conv = values(rows * s.inner);
  std::vector<kernels::ConvSequence> conv_sequences;
  std::vector<kernels::ScanSequence> scan_sequences;
  std::vector<RowRange> ranges;
  for (int64_t b = 0; b < batch; ++b) {
    ranges.push_back({b * length, (b + 1) * length});
    conv_sequences.push_back({ranges.back(), conv_state.data() + b * (s.conv - 1) * s.inner});
    scan_sequences.push_back({ranges.back(), ssm_state.data() + b * s.inner * s.state});
  }
  kernels::causal_conv1d_fwd_cpu({run.x.data(), weight("conv1d.weight").data(), weight("conv1d.bias").data(),
                                  run.conv.data(), conv_sequences.data(), batch, s.inner, s.conv},
                                 c.parallel);
  run.dt_b_c = linear(run.conv, weight("x_proj.weight"), {}, rows, s.inner, s.bc(), c.parallel);
  Values dt_raw = values(rows * s.dt_rank);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(run.dt_b_c.begin() + r * s.bc(), s.dt_rank, dt_raw.begin() + r * s.dt_rank);
  }
  run.dt = linear(dt_raw, weight("dt_proj.weight"), {}, rows, s.dt_rank, s.inner, c.parallel);
  run.y = values(rows * s.inner);
  if (keep)
    run.checkpoints = values(kernels::selective_scan_checkpoints(ranges.data(), batch, s.inner, s.state));
  kernels::selective_scan_fwd_cpu({.x = run.conv.data(),
                                   .dt = run.dt.data(),
                                   .dt_bias = weight("dt_proj.bias").data(),
                                   .a = rates.data(),
                                   .b = run.dt_b_c.data() + s.dt_rank,
                                   .c = run.dt_b_c.data() + s.dt_rank + s.state,
                                   .d = weight("D").data(),
                                   .y = run.y.data(),
                                   .sequences = scan_sequences.data(),
                                   .num_sequences = batch,
                                   .checkpoints = keep ? run.checkpoints.data() : nullptr,
                                   .inner = s.inner,
                                   .state = s.state,
                                   .bc_stride = s.bc()},
                                  c.parallel);
  run.gated = values(rows * s.inner);
  kernels::gated_memory_fwd_cpu(
      {.memory = run.y.data(), .gate = run.z.data(), .y = run.gated.data(), .rows = rows, .dim = s.inner},
      c.parallel);
  run.out = linear(run.gated, weight("out_proj.weight"), {}, rows, s.inner, s.dim, c.parallel);
  return run;
}

// Ours: [B, conv - 1, inner], oldest first. Recorded: [B, inner, conv] with one value more.
Values last_conv_inputs(const RecordedTensor& recorded, const MambaSizes& s) {
  const int64_t batch = recorded.extent(0);
  Values out = values(batch * (s.conv - 1) * s.inner);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = 0; i < s.inner; ++i) {
      for (int64_t k = 1; k < s.conv; ++k) {
        out[static_cast<size_t>((b * (s.conv - 1) + k - 1) * s.inner + i)] =
            recorded.values[static_cast<size_t>((b * s.inner + i) * s.conv + k)];
      }
    }
  }
  return out;
}

}  // namespace

Status run_mamba(ModuleCase& c) {
  FATHOM_TRY(c.known_keys({"d_model", "d_state", "d_conv", "expand", "dt_rank"}));
  MambaSizes s{};
  FATHOM_ASSIGN(s.dim, c.size("d_model"));
  FATHOM_ASSIGN(s.state, c.size("d_state"));
  FATHOM_ASSIGN(s.conv, c.size("d_conv"));
  FATHOM_ASSIGN(s.dt_rank, c.size("dt_rank"));
  FATHOM_ASSIGN(const int64_t expand, c.size("expand"));
  s.inner = expand * s.dim;
  for (const char* name : {"in_proj.weight", "conv1d.weight", "conv1d.bias", "x_proj.weight",
                           "dt_proj.weight", "dt_proj.bias", "A_log", "D", "out_proj.weight"}) {
    FATHOM_TRY([&]() -> Status {
      FATHOM_ASSIGN(const RecordedTensor* tensor, c.weights.require(name));
      static_cast<void>(tensor);
      return {};
    }());
  }
  FATHOM_ASSIGN(const RecordedTensor* in, c.io.require("in.x"));
  const int64_t batch = in->extent(0), length = in->extent(1), rows = batch * length;
  Values rates;
  for (float a_log : c.weights.at("A_log").values) rates.push_back(-std::exp(a_log));
  Values conv_state = values(batch * (s.conv - 1) * s.inner), ssm_state = values(batch * s.inner * s.state);

  const MambaRun run = forward(c, s, in->values, batch, length, conv_state, ssm_state, rates, true);
  c.check("out.y", run.out);
  c.check("out.memory", run.y);
  const auto check_states = [&](const std::string& prefix) {
    c.report.compare("kernels", prefix + ".conv", Kind::kModules, conv_state,
                     last_conv_inputs(c.io.at(prefix + ".conv"), s));
    c.check(prefix + ".ssm", ssm_state);
  };
  check_states("state");

  // Token by token from there on, and a short start.
  for (int64_t step = 0; c.io.has("decode." + std::to_string(step) + ".x"); ++step) {
    const std::string name = "decode." + std::to_string(step);
    const MambaRun token =
        forward(c, s, c.io.at(name + ".x").values, batch, 1, conv_state, ssm_state, rates, false);
    c.check(name + ".y", token.out);
  }
  check_states("decode_end");
  Values short_in;
  for (int64_t b = 0; b < batch; ++b) {
    const std::span<const float> part = in->part(b);
    short_in.insert(short_in.end(), part.begin(), part.begin() + 2 * s.dim);
  }
  std::fill(conv_state.begin(), conv_state.end(), 0.0F);
  std::fill(ssm_state.begin(), ssm_state.end(), 0.0F);
  forward(c, s, short_in, batch, 2, conv_state, ssm_state, rates, false);
  check_states("state_after_2_tokens");

  // Backward.
  const auto weight = [&](const char* name) -> const Values& { return c.weights.at(name).values; };
  const Values& grad_out = c.io.at("grad_out.y").values;
  std::vector<RowRange> ranges;
  for (int64_t b = 0; b < batch; ++b) ranges.push_back({b * length, (b + 1) * length});
  const Values grad_gated = linear_grad_x(grad_out, weight("out_proj.weight"), rows, s.inner, s.dim);
  Values grad_y = values(rows * s.inner), grad_z = values(rows * s.inner);
  kernels::gated_memory_bwd_cpu({.memory = run.y.data(),
                                 .gate = run.z.data(),
                                 .grad_y = grad_gated.data(),
                                 .grad_memory = grad_y.data(),
                                 .grad_gate = grad_z.data(),
                                 .rows = rows,
                                 .dim = s.inner},
                                c.parallel);
  add_into(grad_y, c.io.at("grad_out.memory").values);
  Values grad_conv = values(rows * s.inner), grad_dt = values(rows * s.inner), grad_dt_bias = values(s.inner),
         grad_a_log = values(s.inner * s.state), grad_b = values(rows * s.state),
         grad_c = values(rows * s.state), grad_d = values(s.inner),
         workspace =
             values(kernels::selective_scan_bwd_workspace(rows, s.inner, s.state, c.parallel.num_threads()));
  kernels::selective_scan_bwd_cpu({.x = run.conv.data(),
                                   .dt = run.dt.data(),
                                   .dt_bias = weight("dt_proj.bias").data(),
                                   .a = rates.data(),
                                   .b = run.dt_b_c.data() + s.dt_rank,
                                   .c = run.dt_b_c.data() + s.dt_rank + s.state,
                                   .d = weight("D").data(),
                                   .grad_y = grad_y.data(),
                                   .checkpoints = run.checkpoints.data(),
                                   .sequences = ranges.data(),
                                   .num_sequences = batch,
                                   .grad_x = grad_conv.data(),
                                   .grad_dt = grad_dt.data(),
                                   .grad_dt_bias = grad_dt_bias.data(),
                                   .grad_a_log = grad_a_log.data(),
                                   .grad_b = grad_b.data(),
                                   .grad_c = grad_c.data(),
                                   .grad_d = grad_d.data(),
                                   .workspace = workspace.data(),
                                   .inner = s.inner,
                                   .state = s.state,
                                   .bc_stride = s.bc()},
                                  c.parallel);
  Values dt_raw = values(rows * s.dt_rank), grad_dt_b_c = values(rows * s.bc());
  const Values grad_dt_raw = linear_grad_x(grad_dt, weight("dt_proj.weight"), rows, s.dt_rank, s.inner);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(run.dt_b_c.begin() + r * s.bc(), s.dt_rank, dt_raw.begin() + r * s.dt_rank);
    std::copy_n(grad_dt_raw.begin() + r * s.dt_rank, s.dt_rank, grad_dt_b_c.begin() + r * s.bc());
    std::copy_n(grad_b.begin() + r * s.state, s.state, grad_dt_b_c.begin() + r * s.bc() + s.dt_rank);
    std::copy_n(grad_c.begin() + r * s.state, s.state,
                grad_dt_b_c.begin() + r * s.bc() + s.dt_rank + s.state);
  }
  add_into(grad_conv, linear_grad_x(grad_dt_b_c, weight("x_proj.weight"), rows, s.inner, s.bc()));
  Values grad_x_branch = values(rows * s.inner), grad_conv_weight = values(s.inner * s.conv),
         grad_conv_bias = values(s.inner);
  kernels::causal_conv1d_bwd_cpu({run.x.data(), weight("conv1d.weight").data(), weight("conv1d.bias").data(),
                                  grad_conv.data(), ranges.data(), batch, grad_x_branch.data(),
                                  grad_conv_weight.data(), grad_conv_bias.data(), s.inner, s.conv},
                                 c.parallel);
  const std::span<const float> in_proj = weight("in_proj.weight");
  const auto half = static_cast<size_t>(s.inner * s.dim);
  Values grad_x = linear_grad_x(grad_x_branch, in_proj.first(half), rows, s.dim, s.inner);
  add_into(grad_x, linear_grad_x(grad_z, in_proj.last(half), rows, s.dim, s.inner));
  Values grad_in_proj = linear_grad_weight(grad_x_branch, in->values, rows, s.dim, s.inner);
  const Values z_part = linear_grad_weight(grad_z, in->values, rows, s.dim, s.inner);
  grad_in_proj.insert(grad_in_proj.end(), z_part.begin(), z_part.end());
  c.check_gradient("grad_in.x", grad_x);
  c.check_gradient("grad.in_proj.weight", grad_in_proj);
  c.check_gradient("grad.conv1d.weight", grad_conv_weight);
  c.check_gradient("grad.conv1d.bias", grad_conv_bias);
  c.check_gradient("grad.x_proj.weight", linear_grad_weight(grad_dt_b_c, run.conv, rows, s.inner, s.bc()));
  c.check_gradient("grad.dt_proj.weight", linear_grad_weight(grad_dt, dt_raw, rows, s.dt_rank, s.inner));
  c.check_gradient("grad.dt_proj.bias", grad_dt_bias);
  c.check_gradient("grad.A_log", grad_a_log);
  c.check_gradient("grad.D", grad_d);
  c.check_gradient("grad.out_proj.weight", linear_grad_weight(grad_out, run.gated, rows, s.inner, s.dim));
  return {};
}

}  // namespace fathom::cli::verify
