#include "cli/verify/table_models.h"

#include <nlohmann/json.hpp>

#include "plan/spec_io.h"

namespace fathom::cli::verify {

namespace {

using nlohmann::json;

struct Shape {
  const char* name;
  int64_t hidden, heads, kv_heads, inner;
};
// Mixture-of-Recursions 1.1.
const Shape kShapes[] = {{"135M", 576, 9, 3, 1536},
                         {"360M", 960, 15, 5, 2560},
                         {"730M", 1536, 24, 8, 4096},
                         {"1.7B", 2048, 32, 32, 8192}};

bool says(const std::string& words, const char* word) { return words.find(word) != std::string::npos; }

// A description of a recorded case, whose words for routers these are.
json description_of(const std::string& words, const ModelSpec& base) {
  json plain = json::object();
  plain["tie_word_embeddings_flag"] = true;
  if (!says(words, "vanilla")) {
    plain["sharing"] = "middle_cycle";
    for (const char* sharing : {"cycle", "sequence", "middle_cycle", "middle_sequence"}) {
      if (says(words, (std::string(" ") + sharing + " ").c_str())) plain["sharing"] = sharing;
    }
    const size_t number = words.find("Nr=");
    plain["num_recursion"] = number == std::string::npos ? 0 : std::atoi(words.c_str() + number + 3);
    plain["share_norm_weights"] = !says(words, "ln_share false");
  }
  if (says(words, "mor expert")) {
    plain["mor"] = {{"type", "expert"},
                    {"router_type", says(words, "mlp router") ? "mlp" : "linear"},
                    {"score_function", "sigmoid"},
                    {"sampling", says(words, "aux_router") ? "aux_router" : "aux_loss"}};
  } else if (says(words, "mor token")) {
    plain["mor"] = {{"type", "token"},
                    {"router_type", "linear"},
                    {"score_function", "softmax"},
                    {"balancing", says(words, "loss_free") ? "loss_free" : "loss"}};
  }
  const json llama = {{"vocab_size", base.vocab_size},
                      {"hidden_size", base.hidden_size},
                      {"intermediate_size", base.intermediate_size},
                      {"num_hidden_layers", base.num_hidden_layers},
                      {"num_attention_heads", base.num_attention_heads},
                      {"num_key_value_heads", base.num_key_value_heads}};
  return {{"plain", plain}, {"llama_config", llama}};
}

}  // namespace

Result<ModelSpec> spec_of_shape(const std::string& shape, int64_t num_hidden_layers) {
  for (const Shape& known : kShapes) {
    if (shape != known.name) continue;
    ModelSpec spec;
    spec.vocab_size = 49152;
    spec.hidden_size = known.hidden;
    spec.intermediate_size = known.inner;
    spec.num_attention_heads = known.heads;
    spec.num_key_value_heads = known.kv_heads;
    spec.num_hidden_layers = num_hidden_layers;
    return spec;
  }
  return invalid("unknown shape \"" + shape + "\", expected 135M, 360M, 730M or 1.7B");
}

Result<ModelSpec> spec_of_words(const std::string& words, const ModelSpec& base) {
  FATHOM_ASSIGN(ModelSpec spec, parse_config_json(description_of(words, base).dump(), words));
  if (says(words, "untied") || says(words, "as released")) spec.share_attention = false;
  // The class of recursive models, which does not tie its head, serves vanilla models with shared keys, too.
  if (says(words, "recursive class")) spec.tie_word_embeddings = false;
  return spec;
}

}  // namespace fathom::cli::verify
