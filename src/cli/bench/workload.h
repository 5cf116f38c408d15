// What one line of a benchmark measures, in the words of llama-bench.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fathom::cli::bench {

// A prompt of `prompt` tokens in one prefill, or `generate` tokens decoded one by one by each of `parallel`
// sequences side by side; either behind `depth` tokens that every state already holds. Exactly one of prompt
// and generate is positive.
struct Workload {
  int64_t prompt = 0;
  int64_t generate = 0;
  int64_t depth = 0;
  int64_t parallel = 1;

  bool decodes() const { return generate > 0; }
  int64_t tokens() const { return (prompt + generate) * parallel; }  // of all sequences
  int64_t end() const { return depth + prompt + generate; }
  std::string name() const {  // "pp512", "tg128 @ d4096", "tg128 x16 @ d4096"
    return (decodes() ? "tg" : "pp") + std::to_string(prompt + generate) +
           (parallel > 1 ? " x" + std::to_string(parallel) : std::string()) +
           (depth > 0 ? " @ d" + std::to_string(depth) : std::string());
  }
};

// Every prompt and, with each number of sequences, every generation at every depth; zeros among prompts and
// generations are left out.
inline std::vector<Workload> workloads(const std::vector<int64_t>& prompts,
                                       const std::vector<int64_t>& generations,
                                       const std::vector<int64_t>& depths,
                                       const std::vector<int64_t>& parallel = {1}) {
  std::vector<Workload> out;
  for (int64_t depth : depths) {
    for (int64_t prompt : prompts) {
      if (prompt > 0) out.push_back({.prompt = prompt, .depth = depth});
    }
    for (int64_t generate : generations) {
      for (int64_t sequences : parallel) {
        if (generate > 0) out.push_back({.generate = generate, .depth = depth, .parallel = sequences});
      }
    }
  }
  return out;
}

}  // namespace fathom::cli::bench
