// Small specs for tests.
#pragma once

#include <string>

#include "plan/model_plan.h"

namespace fathom::testing_plan {

inline ModelSpec tiny() {
  ModelSpec spec;
  spec.vocab_size = 97;
  spec.hidden_size = 32;
  spec.intermediate_size = 64;
  spec.num_hidden_layers = 8;
  spec.num_attention_heads = 4;
  spec.num_key_value_heads = 2;
  spec.head_dim = 8;
  spec.max_position_embeddings = 64;
  return spec;
}

inline ModelSpec tiny_recursive(Sharing sharing, int64_t num_recursion) {
  ModelSpec spec = tiny();
  spec.sharing = sharing;
  spec.num_recursion = num_recursion;
  spec.tie_word_embeddings = false;
  return spec;
}

inline ModelSpec tiny_mor(Sharing sharing, int64_t num_recursion) {
  ModelSpec spec = tiny_recursive(sharing, num_recursion);
  spec.tie_word_embeddings = true;
  spec.router = RouterSpec{};
  return spec;
}

inline ModelSpec hybrid(std::string architecture, int64_t num_layers) {
  ModelSpec spec = tiny();
  spec.architecture = std::move(architecture);
  spec.num_hidden_layers = num_layers;
  return spec;
}

}  // namespace fathom::testing_plan
