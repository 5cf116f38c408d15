// Hugging Face Llama names, which plain recursive models repeat for every unrolled layer, and the names of
// the published Mixture-of-Recursions classes (section 8.2 of its description).
#include "plan/file_tensors.h"

namespace fathom {

namespace {

void add_layer(FileTensorList& list, const std::string& prefix, const Layer& layer, int32_t depth) {
  const auto& attention = std::get<Attention>(layer.mixer);
  const auto add = [&](const char* name, const ParamRef& ref) {
    if (ref.present()) list.add(prefix + name, ref, depth);
  };
  add(".self_attn.q_proj.weight", attention.q);
  add(".self_attn.k_proj.weight", attention.k);
  add(".self_attn.v_proj.weight", attention.v);
  add(".self_attn.o_proj.weight", attention.o);
  add(".self_attn.q_proj.bias", attention.q_bias);
  add(".self_attn.k_proj.bias", attention.k_bias);
  add(".self_attn.v_proj.bias", attention.v_bias);
  add(".self_attn.o_proj.bias", attention.o_bias);
  add(".mlp.gate_proj.weight", layer.mlp.gate);
  add(".mlp.up_proj.weight", layer.mlp.up);
  add(".mlp.down_proj.weight", layer.mlp.down);
  add(".input_layernorm.weight", layer.norm1.weight);
  add(".post_attention_layernorm.weight", layer.norm2.weight);
}

void add_router(FileTensorList& list, const std::string& prefix, const ParamRef& weight,
                const ParamRef& hidden, int32_t depth) {
  if (!weight.present()) return;
  if (!hidden.present()) {
    list.add(prefix + ".router.weight", weight, depth);
    return;
  }
  list.add(prefix + ".router.0.weight", hidden, depth);
  list.add(prefix + ".router.2.weight", weight, depth);
}

std::string module_name(int64_t index) { return "model.layers." + std::to_string(index); }

// Expert choice: each depth is a module of its own, with a block and a router.
int64_t add_expert_segment(FileTensorList& list, const Segment& segment, int64_t module) {
  for (int32_t depth = 0; depth < segment.repeat; ++depth, ++module) {
    const std::string name = module_name(module);
    for (size_t l = 0; l < segment.layers.size(); ++l)
      add_layer(list, name + ".block." + std::to_string(l), segment.layers[l], depth);
    const Router& router = *segment.router;
    add_router(list, name + ".mor_router", router.weight, router.hidden, depth);
    add_router(list, name + ".mlp_router", router.aux_weight, router.aux_hidden, depth);
  }
  return module;
}

// Token choice: one module holds all depths and the router.
int64_t add_token_segment(FileTensorList& list, const Segment& segment, int64_t module) {
  const std::string name = module_name(module);
  for (int32_t depth = 0; depth < segment.repeat; ++depth) {
    for (size_t l = 0; l < segment.layers.size(); ++l) {
      add_layer(list, name + ".block_list." + std::to_string(depth) + "." + std::to_string(l),
                segment.layers[l], depth);
    }
  }
  add_router(list, name + ".mor_router", segment.router->weight, segment.router->hidden, 0);
  if (segment.router->bias.present()) list.add(name + ".router_bias", segment.router->bias, 0);
  return module + 1;
}

}  // namespace

std::vector<FileTensor> llama_tensors(const ModelPlan& plan, bool routed_names) {
  FileTensorList list(plan);
  list.add("model.embed_tokens.weight", plan.embedding);
  int64_t module = 0;
  for (const Segment& segment : plan.segments) {
    if (routed_names && segment.router) {
      module = segment.router->spec.kind == RouterKind::kExpertChoice
                   ? add_expert_segment(list, segment, module)
                   : add_token_segment(list, segment, module);
      continue;
    }
    for (int32_t depth = 0; depth < segment.repeat; ++depth) {
      for (const Layer& layer : segment.layers) add_layer(list, module_name(module++), layer, depth);
    }
  }
  list.add("model.norm.weight", plan.final_norm.weight);
  list.add("lm_head.weight", plan.head);
  return list.take();
}

}  // namespace fathom
