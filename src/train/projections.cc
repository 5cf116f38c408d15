#include "train/projections.h"

#include <ATen/TensorOperators.h>

namespace fathom::train {

std::vector<Tensor> Projections::of(const Tensor& x, const std::vector<Relaxable>& projections,
                                    int32_t depth) const {
  std::vector<LinearWeights> weights;
  for (const Relaxable& projection : projections) {
    const bool scaled = projection.adapter.magnitude.present();  // the bias comes behind the scale
    weights.push_back({parameters_.at(projection.weight, depth),
                       scaled ? Tensor() : parameters_.at(projection.bias, depth)});
  }
  std::vector<Tensor> outputs = linears(x, weights, precision_);
  auto output = outputs.begin();
  for (const Relaxable& projection : projections) {
    if (projection.adapter.present()) *output = adapted(projection, x, *output, depth);
    ++output;
  }
  return outputs;
}

// The formulas of Adapter; `plain` is x W^T.
Tensor Projections::adapted(const Relaxable& projection, const Tensor& x, const Tensor& plain,
                            int32_t depth) const {
  const Adapter& adapter = projection.adapter;
  const Tensor a = parameters_.at(adapter.a, depth), b = parameters_.at(adapter.b, depth);
  Tensor seen = x;
  if (dropout_ && adapter.dropout > 0) {
    // Every adapter of every call has a stream of its own.
    const uint64_t stream = dropout_->call * plan_.params.size() + static_cast<uint64_t>(adapter.a.at(depth));
    seen = dropout(x, adapter.dropout, {dropout_->seed, stream});
  }
  const Tensor low = linear(seen, {a, {}}, precision_) * adapter.scaling;
  const Tensor changed = plain + linear(low, {b, {}}, precision_);
  if (!adapter.magnitude.present()) return changed;
  const Tensor norms = adapted_norms(parameters_.at(projection.weight, depth), a, b, adapter.scaling);
  const Tensor scaled = scale_columns(changed, parameters_.at(adapter.magnitude, depth), norms, {});
  return projection.bias.present() ? add_bias(scaled, parameters_.at(projection.bias, depth)) : scaled;
}

Tensor Projections::with_prompt(const Attention& a, int32_t depth, const Tensor& q,
                                const Tensor& mixed) const {
  const AdaptionPrompt& prompt = *a.prompt;
  const Tensor tokens = parameters_.at(prompt.tokens, depth).view({prompt.length, plan_.dims.hidden_size});
  const std::vector<Tensor> k_v =
      of(tokens, {{a.k, a.k_bias, a.k_adapter}, {a.v, a.v_bias, a.v_adapter}}, depth);
  const auto rows = std::make_shared<AttentionRows>();
  const auto count = static_cast<size_t>(q.size(0));
  rows->key_begin.assign(count, 0);
  rows->key_end.assign(count, static_cast<int32_t>(prompt.length));
  rows->sequence.assign(count, 0);
  rows->query_rows = {{0, q.size(0)}};
  rows->key_rows = {{0, prompt.length}};
  const Tensor seen = attention(q, k_v[0], k_v[1], rows,
                                {a.num_heads, a.num_kv_heads, a.head_dim, a.stripes(), a.scale}, precision_);
  return scale_columns(seen, parameters_.at(prompt.gate, depth), {}, mixed);
}

}  // namespace fathom::train
