// Names of the published training code of SambaY, with our own for what recurs, and of
// Phi-4-mini-flash-reasoning (Decoder-Hybrid-Decoder, sections 2.1, 3 and 9.2). The two differ in how q, k
// and v are fused: interleaved per group of heads in the first, one after another in the second.
#include "plan/file_tensors.h"

namespace fathom {

namespace {

void add_norm(FileTensorList& list, const std::string& name, const Norm& norm, int32_t depth = 0) {
  list.add(name + ".weight", norm.weight, depth);
  if (norm.bias.present()) list.add(name + ".bias", norm.bias, depth);
}

void add_conv(FileTensorList& list, const std::string& name, const ParamRef& ref) {
  const std::vector<int64_t> shape = list.shape_of(ref);
  list.add_shaped(name, ref, {shape[0], 1, shape[1]});
}

void add_mamba(FileTensorList& list, const std::string& prefix, const Mamba& mamba) {
  list.add(prefix + ".A_log", mamba.a_log);
  list.add(prefix + ".D", mamba.d);
  list.add_stacked(prefix + ".in_proj.weight", {mamba.in_x, mamba.in_z});
  add_conv(list, prefix + ".conv1d.weight", mamba.conv_weight);
  list.add(prefix + ".conv1d.bias", mamba.conv_bias);
  list.add(prefix + ".x_proj.weight", mamba.x_proj);
  list.add(prefix + ".dt_proj.weight", mamba.dt_proj);
  list.add(prefix + ".dt_proj.bias", mamba.dt_bias);
  list.add(prefix + ".out_proj.weight", mamba.out_proj);
}

void add_mamba2(FileTensorList& list, const std::string& prefix, const Mamba2& mamba) {
  list.add(prefix + ".dt_bias", mamba.dt_bias);
  list.add(prefix + ".A_log", mamba.a_log);
  list.add(prefix + ".D", mamba.d);
  list.add_stacked(prefix + ".in_proj.weight", {mamba.in_z, mamba.in_xbc, mamba.in_dt});
  add_conv(list, prefix + ".conv1d.weight", mamba.conv_weight);
  list.add(prefix + ".conv1d.bias", mamba.conv_bias);
  list.add(prefix + ".norm.weight", mamba.norm);
  list.add(prefix + ".out_proj.weight", mamba.out_proj);
}

void add_gated_delta(FileTensorList& list, const std::string& prefix, const GatedDelta& delta) {
  list.add(prefix + ".A_log", delta.a_log);
  list.add(prefix + ".dt_bias", delta.dt_bias);
  list.add(prefix + ".q_proj.weight", delta.q);
  list.add(prefix + ".k_proj.weight", delta.k);
  list.add(prefix + ".v_proj.weight", delta.v);
  list.add(prefix + ".b_proj.weight", delta.b);
  list.add(prefix + ".a_proj.weight", delta.a);
  add_conv(list, prefix + ".q_conv1d.weight", delta.q_conv);
  add_conv(list, prefix + ".k_conv1d.weight", delta.k_conv);
  add_conv(list, prefix + ".v_conv1d.weight", delta.v_conv);
  list.add(prefix + ".g_proj.weight", delta.g);
  list.add(prefix + ".norm.weight", delta.norm);
  list.add(prefix + ".o_proj.weight", delta.o);
}

void add_lambdas(FileTensorList& list, const std::string& prefix, const Attention& attention) {
  if (!attention.differential) return;
  list.add(prefix + ".lambda_q1", attention.differential->lambda_q1);
  list.add(prefix + ".lambda_k1", attention.differential->lambda_k1);
  list.add(prefix + ".lambda_q2", attention.differential->lambda_q2);
  list.add(prefix + ".lambda_k2", attention.differential->lambda_k2);
  list.add(prefix + ".subln.weight", attention.differential->sub_norm);
}

// Rows per key head: the query heads of its group, its k, its v.
void add_interleaved(FileTensorList& list, const std::string& name, const Attention& attention,
                     const ParamRef& q, const ParamRef& k, const ParamRef& v) {
  if (!k.present()) return list.add(name, q);
  const int64_t c = attention.head_dim;
  const int64_t group = attention.num_heads / attention.num_kv_heads * c;
  std::vector<TensorPiece> pieces;
  int64_t row = 0;
  const auto piece = [&](const ParamRef& ref, int64_t from, int64_t rows) {
    pieces.push_back({.param = ref.at(0), .param_row = from, .file_row = row, .rows = rows});
    row += rows;
  };
  for (int64_t g = 0; g < attention.num_kv_heads; ++g) {
    piece(q, g * group, group);
    piece(k, g * c, c);
    piece(v, g * c, c);
  }
  std::vector<int64_t> shape = list.shape_of(q);
  shape[0] = row;
  list.add_pieces(name, shape, pieces);
}

void add_contiguous(FileTensorList& list, const std::string& name, const ParamRef& q, const ParamRef& k,
                    const ParamRef& v) {
  if (!k.present()) return list.add(name, q);
  list.add_stacked(name, {q, k, v});
}

void add_archscale_mixer(FileTensorList& list, const std::string& prefix, const Mixer& mixer) {
  if (const auto* mamba = std::get_if<Mamba>(&mixer)) return add_mamba(list, prefix, *mamba);
  if (const auto* mamba2 = std::get_if<Mamba2>(&mixer)) return add_mamba2(list, prefix, *mamba2);
  if (const auto* delta = std::get_if<GatedDelta>(&mixer)) return add_gated_delta(list, prefix, *delta);
  if (const auto* gmu = std::get_if<GatedMemory>(&mixer)) {
    list.add(prefix + ".gmu.in_proj.weight", gmu->in_proj);
    if (gmu->norm.present()) list.add(prefix + ".gmu.norm.weight", gmu->norm);
    list.add(prefix + ".gmu.out_proj.weight", gmu->out_proj);
    return;
  }
  const auto& a = std::get<Attention>(mixer);
  add_interleaved(list, prefix + ".attn.weight", a, a.q, a.k, a.v);
  if (a.q_bias.present()) add_interleaved(list, prefix + ".attn.bias", a, a.q_bias, a.k_bias, a.v_bias);
  add_lambdas(list, prefix + ".da", a);
  list.add(prefix + ".proj.weight", a.o);
  if (a.o_bias.present()) list.add(prefix + ".proj.bias", a.o_bias);
}

void add_phi_mixer(FileTensorList& list, const std::string& prefix, const Mixer& mixer) {
  if (const auto* mamba = std::get_if<Mamba>(&mixer)) return add_mamba(list, prefix, *mamba);
  if (const auto* gmu = std::get_if<GatedMemory>(&mixer)) {
    list.add(prefix + ".in_proj.weight", gmu->in_proj);
    list.add(prefix + ".out_proj.weight", gmu->out_proj);
    return;
  }
  const auto& a = std::get<Attention>(mixer);
  add_contiguous(list, prefix + ".Wqkv.weight", a.q, a.k, a.v);
  if (a.q_bias.present()) add_contiguous(list, prefix + ".Wqkv.bias", a.q_bias, a.k_bias, a.v_bias);
  add_lambdas(list, prefix + ".inner_cross_attn", a);
  list.add(prefix + ".out_proj.weight", a.o);
  if (a.o_bias.present()) list.add(prefix + ".out_proj.bias", a.o_bias);
}

// Those of the layer at a depth, which is unrolled layer `index`.
void add_norms(FileTensorList& list, const Layer& layer, int32_t index, int32_t depth) {
  const std::string prefix = "transformer.h." + std::to_string(index);
  add_norm(list, prefix + ".norm_1", layer.norm1, depth);
  add_norm(list, prefix + ".norm_2", layer.norm2, depth);
}

// No published model has recursion and a cross-decoder: these names are our own. Expert choice has one router
// for each depth, token choice one in all.
void add_router(FileTensorList& list, const Router& router, int32_t repeat) {
  const int32_t routers = router.spec.kind == RouterKind::kExpertChoice ? repeat : 1;
  const auto add = [&](const std::string& name, const ParamRef& ref) {
    for (int32_t depth = 0; ref.present() && depth < routers; ++depth)
      list.add("transformer." + name + "." + std::to_string(depth) + ".weight", ref, depth);
  };
  add("router_hidden", router.hidden);
  add("router", router.weight);
  add("aux_router_hidden", router.aux_hidden);
  add("aux_router", router.aux_weight);
  if (router.bias.present()) list.add("transformer.router_bias", router.bias);
}

}  // namespace

std::vector<FileTensor> archscale_tensors(const ModelPlan& plan) {
  FileTensorList list(plan);
  list.add("transformer.wte.weight", plan.embedding);
  for (const Segment& segment : plan.segments) {
    const auto count = static_cast<int32_t>(segment.layers.size());
    for (const Layer& layer : segment.layers) {
      const std::string prefix = "transformer.h." + std::to_string(layer.index);
      add_norms(list, layer, layer.index, 0);
      add_archscale_mixer(list, prefix + ".attn", layer.mixer);
      list.add_stacked(prefix + ".mlp.w1.weight", {layer.mlp.gate, layer.mlp.up});
      list.add(prefix + ".mlp.w3.weight", layer.mlp.down);
    }
    for (int32_t depth = 1; depth < segment.repeat; ++depth) {
      for (const Layer& layer : segment.layers) {
        if (layer.norm1.weight.stride > 0) add_norms(list, layer, layer.index + depth * count, depth);
      }
    }
    if (segment.router) add_router(list, *segment.router, segment.repeat);
  }
  add_norm(list, "transformer.ln_f", plan.final_norm);
  list.add("lm_head.weight", plan.head);
  return list.take();
}

std::vector<FileTensor> phi4flash_tensors(const ModelPlan& plan) {
  FileTensorList list(plan);
  list.add("model.embed_tokens.weight", plan.embedding);
  for (const Segment& segment : plan.segments) {
    for (const Layer& layer : segment.layers) {
      const std::string prefix = "model.layers." + std::to_string(layer.index);
      add_norm(list, prefix + ".input_layernorm", layer.norm1);
      add_phi_mixer(list, prefix + ".attn", layer.mixer);
      add_norm(list, prefix + ".post_attention_layernorm", layer.norm2);
      list.add_stacked(prefix + ".mlp.fc1.weight", {layer.mlp.gate, layer.mlp.up});
      list.add(prefix + ".mlp.fc2.weight", layer.mlp.down);
    }
  }
  add_norm(list, "model.final_layernorm", plan.final_norm);
  list.add("lm_head.weight", plan.head);
  return list.take();
}

}  // namespace fathom
