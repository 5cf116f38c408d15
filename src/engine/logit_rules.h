// What a request changes of the logits before a token is drawn: biases, then penalties for what is there
// already. The order and the formulas are those of common servers: a repetition penalty r makes a logit z of
// a token of the prompt or the text z / r if z > 0, else z r; then z - count * frequency - presence for
// tokens of the text.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace fathom {

struct LogitRules {
  std::vector<std::pair<int32_t, float>> bias = {};  // of ids below the vocabulary
  float repetition_penalty = 1;                      // above 0
  float presence_penalty = 0;
  float frequency_penalty = 0;

  bool any() const {
    return !bias.empty() || repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0;
  }
};

// Changes logits [vocab]. `tokens` are the prompt and the text, of which the first `prompt` are the prompt's.
void apply_rules(const LogitRules& rules, std::span<const int32_t> tokens, int64_t prompt,
                 std::span<float> logits);

}  // namespace fathom
