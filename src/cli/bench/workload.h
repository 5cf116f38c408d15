// What one line of a benchmark measures, in the words of llama-bench.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fathom::cli::bench {

// A prompt of `prompt` tokens in one prefill, or `generate` tokens decoded one by one; either behind `depth`
// tokens that the state already holds. Exactly one of prompt and generate is positive.
struct Workload {
  int64_t prompt = 0;
  int64_t generate = 0;
  int64_t depth = 0;

  bool decodes() const { return generate > 0; }
  int64_t tokens() const { return prompt + generate; }
  int64_t end() const { return depth + tokens(); }
  std::string name() const {  // "pp512", "tg128 @ d4096"
    return (decodes() ? "tg" : "pp") + std::to_string(tokens()) +
           (depth > 0 ? " @ d" + std::to_string(depth) : std::string());
  }
};

// Every prompt and every generation at every depth; zeros among prompts and generations are left out.
inline std::vector<Workload> workloads(const std::vector<int64_t>& prompts,
                                       const std::vector<int64_t>& generations,
                                       const std::vector<int64_t>& depths) {
  std::vector<Workload> out;
  for (int64_t depth : depths) {
    for (int64_t prompt : prompts) {
      if (prompt > 0) out.push_back({.prompt = prompt, .depth = depth});
    }
    for (int64_t generate : generations) {
      if (generate > 0) out.push_back({.generate = generate, .depth = depth});
    }
  }
  return out;
}

}  // namespace fathom::cli::bench
