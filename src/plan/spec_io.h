// Model specifications in files: TOML (configs/models/) and config.json of a model directory.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "plan/model_spec.h"

namespace fathom {

// A TOML spec: the fields of ModelSpec, the router as a table [router]. `name` is what messages call it.
Result<ModelSpec> parse_spec_toml(std::string_view text, const std::string& name);

// config.json in any of these dialects, told apart by their keys: Fathom's own ("model_type": "fathom"),
// Hugging Face LlamaForCausalLM and Phi4FlashForCausalLM, the training code of SambaY, the reference cases of
// Mixture-of-Recursions. A key that is neither used nor known to be irrelevant is refused by name.
Result<ModelSpec> parse_config_json(std::string_view text, const std::string& name);

// A TOML spec with some of the fields, laid over those of `base`; the whole must be one. `fields`, if given,
// becomes the names of those that the file says, e.g. "hidden_size" and "router.alpha".
Result<ModelSpec> load_spec_over(const ModelSpec& base, const std::string& path,
                                 std::vector<std::string>* fields = nullptr);

// The config.json of a checkpoint directory; parse_config_json() gives the spec back. A plain Llama is
// written as Hugging Face's LlamaForCausalLM, what Phi-4-mini-flash's class can say as that, everything else
// in Fathom's own dialect.
std::string write_config_json(const ModelSpec& spec);

// Whether the spec says nothing that a Llama configuration of Hugging Face cannot.
bool is_plain_llama(const ModelSpec& spec);

// A .toml file, a .json file, or a directory that holds config.json.
Result<ModelSpec> load_spec(const std::string& path);

}  // namespace fathom
