// The dialects of config.json, each from a parsed object to a spec. Errors name the key.
#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "plan/model_spec.h"
#include "plan/spec_io.h"

namespace fathom {

// Fathom's own, and what TOML specs are read as: the fields of ModelSpec under their own names, the router
// and the relaxation as objects "router", "relaxation". "model_type" is "fathom" or absent.
Result<ModelSpec> read_fathom_config(const nlohmann::json& object);
nlohmann::ordered_json write_fathom_config(const ModelSpec& spec);

// The object "relaxation" of that dialect.
Result<RelaxationSpec> read_relaxation(const nlohmann::json& object);
nlohmann::ordered_json write_relaxation(const RelaxationSpec& relaxation);

// Hugging Face LlamaForCausalLM. Absent keys have the library's defaults.
Result<ModelSpec> read_llama_config(const nlohmann::json& object);
nlohmann::ordered_json write_llama_config(const ModelSpec& spec);

// {"plain", "authors_config", "llama_config"}: the description of a reference case of
// Mixture-of-Recursions.
Result<ModelSpec> read_mor_case_config(const nlohmann::json& object);
// Its "relaxation"; nothing where that is off.
Result<std::optional<RelaxationSpec>> read_case_relaxation(const nlohmann::json& object);

// The configuration of the training code of SambaY (n_layer, n_embd, ...). Its local_window of -1 becomes
// kNoWindow, a window that no context fills.
inline constexpr int64_t kNoWindow = int64_t{1} << 30;
Result<ModelSpec> read_archscale_config(const nlohmann::json& object);

// Phi4FlashForCausalLM (Decoder-Hybrid-Decoder, section 9.1). What it cannot say is not written.
Result<ModelSpec> read_phi4flash_config(const nlohmann::json& object);
nlohmann::ordered_json write_phi4flash_config(const ModelSpec& spec);

}  // namespace fathom
