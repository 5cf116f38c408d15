// The requests of a serving run, drawn from a seed as vLLM's `bench serve` draws its random ones: pure
// functions, so that two runs have the same requests whatever happens in them.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace fathom::cli::bench {

struct Load {
  int64_t requests = 1;
  double rate = std::numeric_limits<double>::infinity();  // a second, on average; infinite: nobody waits
  int64_t concurrency = 0;                                // under way at most; 0: any number
  // Tokens: those that all prompts begin with, then of each its own, and those drawn behind them.
  int64_t prefix = 0, input = 512, output = 128;
  double range_ratio = 0;  // in [0, 1): input and output lengths lie within this share of theirs
  uint64_t seed = 0;

  // Times without a rate count from when there is a place for the request, else from its arrival.
  bool closed() const { return rate == std::numeric_limits<double>::infinity(); }
};

struct LoadItem {
  double arrival = 0;  // seconds after the start: a Poisson process, whose first request comes at once
  int64_t input = 0;   // tokens of the prompt, with the common ones
  int64_t output = 0;
};

// All requests in the order of their arrival.
std::vector<LoadItem> draw_load(const Load& load);

// Ids below `vocab` of the request of that index.
std::vector<int32_t> draw_prompt(const Load& load, const LoadItem& item, int64_t index, int64_t vocab);

// Tokens that a sequence of the load has at the most.
int64_t longest(const std::vector<LoadItem>& items);

}  // namespace fathom::cli::bench
