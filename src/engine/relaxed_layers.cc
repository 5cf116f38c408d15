// What LayerRunner does for relaxed layers alone. Weights do not change here, so all that is a function of
// them is found once: the keys and values of prompts, and the factors of DoRA.
//
// DoRA's m / ||W + s B A|| multiplies each output. It is kept beside W, B and A as they are stored, instead
// of being multiplied into them: matrices stay in the mapped file and are shared by all depths, only vectors
// are each depth's own, and bfloat16 weights are not rounded a second time.
#include <algorithm>

#include "base/half.h"
#include "engine/layer_runner.h"
#include "kernels/adapted_norms/adapted_norms.h"
#include "kernels/attention/attention.h"
#include "kernels/linear/linear.h"
#include "kernels/scale_columns/scale_columns.h"
#include "weights/int4_rows.h"

namespace fathom {

namespace {

// A matrix as float: int4, float or bfloat16.
std::vector<float> as_float(const Weights::Array& array, int64_t rows, int64_t columns) {
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (int64_t i = 0; i < rows * columns && array.type != DType::kI4; ++i) {
    values[static_cast<size_t>(i)] = array.type == DType::kF32
                                         ? static_cast<const float*>(array.data)[i]
                                         : to_float(static_cast<const BFloat16*>(array.data)[i]);
  }
  for (int64_t r = 0; r < rows && array.type == DType::kI4; ++r) {
    read_row_int4(static_cast<const uint8_t*>(array.data) + r * int4::row_bytes(columns),
                  static_cast<const uint8_t*>(array.groups) + 2 * r * int4::groups_of(columns, array.group),
                  array.group,
                  std::span(values).subspan(static_cast<size_t>(r * columns), static_cast<size_t>(columns)));
  }
  return values;
}

}  // namespace

void LayerRunner::build_out_scales() {
  out_scales_.resize(plan_.params.size());
  for_each_unrolled_layer(plan_, [&](const Segment& segment, const Layer& layer, int32_t depth) {
    const bool keys = makes_keys(segment, layer, depth);
    for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
      const Adapter& adapter = *matrix.adapter;
      if (!adapter.magnitude.present() || (is_of_keys(matrix.projection) && !keys)) continue;
      const Weights::Array& weight = weights_.at(matrix.weight.at(depth));
      const std::vector<int64_t>& shape = plan_.params[static_cast<size_t>(matrix.weight.at(depth))].shape;
      std::vector<float>& scale = out_scales_[static_cast<size_t>(adapter.magnitude.at(depth))];
      scale.resize(static_cast<size_t>(shape[0]));
      const Weights::Array &a = weights_.at(adapter.a.at(depth)), &b = weights_.at(adapter.b.at(depth));
      kernels::AdaptedNorms norms{.weight = weight.data,
                                  .a = a.data,
                                  .b = b.data,
                                  .type = a.type,
                                  .norms = scale.data(),
                                  .in = shape[1],
                                  .out = shape[0],
                                  .rank = adapter.rank,
                                  .scaling = static_cast<float>(adapter.scaling),
                                  .weight_scale = weight.scale};
      std::vector<float> wide_weight, wide_a, wide_b;
      if (weight.type == DType::kI4) {
        wide_weight = as_float(weight, norms.out, norms.in);
        wide_a = as_float(a, norms.rank, norms.in);
        wide_b = as_float(b, norms.out, norms.rank);
        norms.type = DType::kF32;
        norms.weight = wide_weight.data();
        norms.a = wide_a.data();
        norms.b = wide_b.data();
      }
      kernels::adapted_norms_fwd_cpu(norms, parallel_);
      const float* magnitude = weights_.f32(adapter.magnitude.at(depth));
      for (size_t o = 0; o < scale.size(); ++o) scale[o] = magnitude[o] / scale[o];
    }
  });
}

const float* LayerRunner::out_scale(const Adapter* adapter, int32_t depth) const {
  if (adapter == nullptr || !adapter->magnitude.present()) return nullptr;
  return out_scales_[static_cast<size_t>(adapter->magnitude.at(depth))].data();
}

void LayerRunner::build_prompts() {
  prompts_.resize(plan_.params.size());
  const int64_t hidden = plan_.dims.hidden_size;
  for_each_unrolled_layer(plan_, [&](const Segment&, const Layer& layer, int32_t depth) {
    const auto* attention = std::get_if<Attention>(&layer.mixer);
    if (attention == nullptr || !attention->prompt) return;
    const AdaptionPrompt& prompt = *attention->prompt;
    const int64_t kv_dim = attention->num_kv_heads * attention->head_dim;
    PromptKeys& keys = prompts_[static_cast<size_t>(prompt.tokens.at(depth))];
    keys.k.resize(static_cast<size_t>(prompt.length * kv_dim));
    keys.v.resize(keys.k.size());
    const float* tokens = weights_.f32(prompt.tokens.at(depth));
    for (int64_t first = 0; first < prompt.length; first += max_rows_) {
      const int64_t rows = std::min(max_rows_, prompt.length - first);
      linear(
          {{attention->k, attention->k_bias, keys.k.data() + first * kv_dim, kv_dim, &attention->k_adapter},
           {attention->v, attention->v_bias, keys.v.data() + first * kv_dim, kv_dim, &attention->v_adapter}},
          depth, tokens + first * hidden, hidden, hidden, rows);
    }
    for (int64_t first = 0; first < prompt.length; first += kernels::kKeyBlock) {
      keys.k_blocks.push_back(keys.k.data() + first * kv_dim);
      keys.v_blocks.push_back(keys.v.data() + first * kv_dim);
    }
    keys.gate.assign(static_cast<size_t>(attention->num_heads * attention->head_dim),
                     *weights_.f32(prompt.gate.at(depth)));
  });
}

void LayerRunner::attend_prompt(const Attention& attention, int32_t depth, float* mixed, int64_t rows) {
  const AdaptionPrompt& prompt = *attention.prompt;
  const PromptKeys& keys = prompts_[static_cast<size_t>(prompt.tokens.at(depth))];
  std::fill(key_begin_, key_begin_ + rows, 0);
  std::fill(key_end_, key_end_ + rows, static_cast<int32_t>(prompt.length));
  const kernels::KeyList list{keys.k_blocks.data(), keys.v_blocks.data()};
  kernels::attention_fwd_cpu({.q = q_,
                              .key_begin = key_begin_,
                              .key_end = key_end_,
                              .sequences = &list,
                              .out = prompted_,
                              .rows = rows,
                              .heads = attention.num_heads,
                              .kv_heads = attention.num_kv_heads,
                              .head_dim = attention.head_dim,
                              .scale = static_cast<float>(attention.scale),
                              .workspace = attention_workspace_},
                             running(EngineOp::kAttention));
  kernels::scale_columns_fwd_cpu({.x = prompted_,
                                  .scale = keys.gate.data(),
                                  .base = mixed,
                                  .y = mixed,
                                  .rows = rows,
                                  .dim = attention.num_heads * attention.head_dim},
                                 running(EngineOp::kScaleColumns));
}

void LayerRunner::add_low_rank(const Product& product, int32_t depth, const float* low, int64_t rows) {
  const Adapter& adapter = *product.adapter;
  const Weights::Array& matrix = weights_.at(adapter.b.at(depth));
  kernels::linear_fwd_cpu({.x = low,
                           .weight = matrix.data,
                           .weight_type = matrix.type,
                           .weight_scale = matrix.scale,
                           .out_scale = out_scale(&adapter, depth),
                           .y = product.y,
                           .rows = rows,
                           .in = adapter.rank,
                           .out = product.out,
                           .x_stride = adapter.rank,
                           .y_stride = product.out,
                           .scale = product.scale * static_cast<float>(adapter.scaling),
                           .accumulate = true,
                           .workspace = linear_workspace_},
                          running(EngineOp::kLinear));
}

}  // namespace fathom
