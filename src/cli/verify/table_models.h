// The models that rows of the recursion family's tables name in words.
#pragma once

#include <string>

#include "base/result.h"
#include "plan/model_spec.h"

namespace fathom::cli::verify {

// "135M", "360M", "730M", "1.7B": a vanilla model of that shape with `num_hidden_layers` layers.
Result<ModelSpec> spec_of_shape(const std::string& shape, int64_t num_hidden_layers);

// "mor expert linear middle_cycle Nr=3 (attention tied)", "recursive sequence Nr=2", "vanilla", ...: what the
// words make of the vanilla model `base`. kNotSupported for what plans cannot say.
Result<ModelSpec> spec_of_words(const std::string& words, const ModelSpec& base);

}  // namespace fathom::cli::verify
