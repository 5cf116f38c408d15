// How tokens are drawn, from flags that all commands which write text share.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/result.h"
#include "cli/command.h"
#include "kernels/sampling/sampling.h"

namespace fathom::cli {

// What --help says about a flag that is not given: the task's own way of writing comes before, or the model's
// generation_config.json, as take_recommended_sampling() does it.
enum class SamplingDefaults : uint8_t { kOfTask, kOfModel };

// --temperature, --top-k, --top-p, --min-p, --seed. `sampling` holds the defaults and lives as long as `app`.
void add_sampling_flags(CLI::App& app, kernels::SamplingParams& sampling,
                        SamplingDefaults defaults = SamplingDefaults::kOfTask);

// Puts what was given of the flags in the place of what `sampling` says.
void take_given_sampling(const CLI::App& app, const kernels::SamplingParams& given,
                         kernels::SamplingParams& sampling);

// What the flags left open as a model's generation_config.json says; null: nothing. There -1 tokens, too, are
// all of them (`top_k`). Error: a value out of its range.
Status take_recommended_sampling(const CLI::App& app, const nlohmann::json& config,
                                 kernels::SamplingParams& sampling);

// The same of the tokens of a text at most: `max_new_tokens` unless --max-tokens is given.
Status take_recommended_length(const CLI::App& app, const nlohmann::json& config, int64_t& max_tokens);

}  // namespace fathom::cli
