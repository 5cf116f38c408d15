// Hugging Face Llama names, which plain recursive models repeat for every unrolled layer, and the names of
// the published Mixture-of-Recursions classes (section 8.2 of its description).
#include "plan/file_tensors.h"

namespace fathom {

namespace {

// An adapter wraps its projection, a prompt the attention, an encoding the layer, and each gives what it
// wraps a name inside its own.
void add_layer(FileTensorList& list, const std::string& name, const Layer& layer, int32_t depth) {
  const auto& attention = std::get<Attention>(layer.mixer);
  const auto add = [&](const std::string& tensor, const ParamRef& ref) {
    if (ref.present()) list.add(tensor, ref, depth);
  };
  const auto project = [&](const std::string& projection, const ParamRef& weight, const ParamRef& bias,
                           const Adapter& adapter) {
    const std::string base = adapter.present() ? projection + ".base_layer" : projection;
    add(base + ".weight", weight);
    add(base + ".bias", bias);
    add(projection + ".lora_A.default.weight", adapter.a);
    add(projection + ".lora_B.default.weight", adapter.b);
    add(projection + ".lora_magnitude_vector.default.weight", adapter.magnitude);
  };
  const std::string body = layer.encoding.present() ? name + ".block" : name;
  std::string heads = body + ".self_attn";
  if (attention.prompt) {
    add(heads + ".adaption_prompt", attention.prompt->tokens);
    add(heads + ".adaption_gate", attention.prompt->gate);
    heads += ".model";
  }
  project(heads + ".q_proj", attention.q, attention.q_bias, attention.q_adapter);
  project(heads + ".k_proj", attention.k, attention.k_bias, attention.k_adapter);
  project(heads + ".v_proj", attention.v, attention.v_bias, attention.v_adapter);
  project(heads + ".o_proj", attention.o, attention.o_bias, attention.o_adapter);
  project(body + ".mlp.gate_proj", layer.mlp.gate, {}, layer.mlp.gate_adapter);
  project(body + ".mlp.up_proj", layer.mlp.up, {}, layer.mlp.up_adapter);
  project(body + ".mlp.down_proj", layer.mlp.down, {}, layer.mlp.down_adapter);
  add(body + ".input_layernorm.weight", layer.norm1.weight);
  add(body + ".post_attention_layernorm.weight", layer.norm2.weight);
  add(name + ".recursion_encoding", layer.encoding);
}

// Adapters and prompts come from a library that wraps the whole model.
std::string wrapping(const ModelPlan& plan) {
  const std::optional<RelaxationSpec>& relaxation = plan.spec.relaxation;
  const bool wrapped = relaxation && relaxation->method != RelaxationMethod::kRecursionEncoding;
  return wrapped ? "base_model.model." : "";
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

// Names of the modules that hold layers, in turn.
struct Modules {
  std::string prefix;
  int64_t next = 0;
  std::string name() { return prefix + "model.layers." + std::to_string(next++); }
};

// Expert choice: each depth is a module of its own, with a block and a router.
void add_expert_segment(FileTensorList& list, const Segment& segment, Modules& modules) {
  for (int32_t depth = 0; depth < segment.repeat; ++depth) {
    const std::string name = modules.name();
    for (size_t l = 0; l < segment.layers.size(); ++l)
      add_layer(list, name + ".block." + std::to_string(l), segment.layers[l], depth);
    const Router& router = *segment.router;
    add_router(list, name + ".mor_router", router.weight, router.hidden, depth);
    add_router(list, name + ".mlp_router", router.aux_weight, router.aux_hidden, depth);
  }
}

// Token choice: one module holds all depths and the router.
void add_token_segment(FileTensorList& list, const Segment& segment, Modules& modules) {
  const std::string name = modules.name();
  for (int32_t depth = 0; depth < segment.repeat; ++depth) {
    for (size_t l = 0; l < segment.layers.size(); ++l) {
      add_layer(list, name + ".block_list." + std::to_string(depth) + "." + std::to_string(l),
                segment.layers[l], depth);
    }
  }
  add_router(list, name + ".mor_router", segment.router->weight, segment.router->hidden, 0);
  if (segment.router->bias.present()) list.add(name + ".router_bias", segment.router->bias, 0);
}

}  // namespace

std::vector<FileTensor> llama_tensors(const ModelPlan& plan, bool routed_names) {
  FileTensorList list(plan);
  Modules modules{.prefix = wrapping(plan)};
  list.add(modules.prefix + "model.embed_tokens.weight", plan.embedding);
  for (const Segment& segment : plan.segments) {
    if (routed_names && segment.router) {
      if (segment.router->spec.kind == RouterKind::kExpertChoice) {
        add_expert_segment(list, segment, modules);
      } else {
        add_token_segment(list, segment, modules);
      }
      continue;
    }
    for (int32_t depth = 0; depth < segment.repeat; ++depth) {
      for (const Layer& layer : segment.layers) add_layer(list, modules.name(), layer, depth);
    }
  }
  list.add(modules.prefix + "model.norm.weight", plan.final_norm.weight);
  list.add(modules.prefix + "lm_head.weight", plan.head);
  return list.take();
}

}  // namespace fathom
