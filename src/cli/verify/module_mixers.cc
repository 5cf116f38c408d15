// Attention and cross-attention with their projections.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cli/verify/attention_core.h"
#include "cli/verify/module_case.h"
#include "kernels/rope/rope.h"

namespace fathom::cli::verify {

namespace {

using kernels::RowRange;

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
  int64_t keys = length;  // of which the queries are the last positions
  if (cross) {
    FATHOM_TRY(c.io.expect("in.k", {batch, -1, kv_heads, head_dim}));
    const RecordedTensor& in_k = c.io.at("in.k");
    FATHOM_TRY(c.io.expect("in.v", in_k.shape));
    keys = in_k.extent(1);
    if (keys < length) return invalid(c.path + "/io.safetensors: more queries than keys");
    k = in_k.values;
    v = c.io.at("in.v").values;
  } else {
    k = linear(x->values, weight.k, bias.k, rows, dim, kv_dim, c.parallel);
    v = linear(x->values, weight.v, bias.v, rows, dim, kv_dim, c.parallel);
  }

  std::vector<int32_t> positions;
  for (int64_t r = 0; r < rows; ++r) positions.push_back(static_cast<int32_t>(keys - length + r % length));
  Values cos = values(keys * head_dim / 2), sin = values(keys * head_dim / 2);
  if (rotary)
    kernels::rope_table(cos.data(), sin.data(), keys, head_dim, c.config.value("rope_base", 10000.0), true);
  const auto rotate = [&](Values& array, int64_t array_heads, bool inverse) {
    if (!rotary) return;
    kernels::rope_fwd_cpu({array.data(), positions.data(), cos.data(), sin.data(), keys, rows, array_heads,
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
                      .keys = keys,
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
    if (c.io.has("grad_out.k")) add_into(grad.k, c.io.at("grad_out.k").values);
    if (c.io.has("grad_out.v")) add_into(grad.v, c.io.at("grad_out.v").values);
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

}  // namespace fathom::cli::verify
