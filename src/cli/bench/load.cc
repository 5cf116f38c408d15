#include "cli/bench/load.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace fathom::cli::bench {

namespace {

enum Stream : uint64_t { kArrivals, kLengths, kPrefix, kPrompts };  // the last is the first of many

int64_t length_near(int64_t length, double ratio, RandomStream& stream) {
  const int64_t apart = std::min<int64_t>(std::llround(ratio * static_cast<double>(length)), length - 1);
  return length - apart + static_cast<int64_t>(stream.next_below(static_cast<uint64_t>(2 * apart + 1)));
}

void draw_ids(uint64_t seed, uint64_t stream_id, int64_t count, int64_t vocab, std::vector<int32_t>& out) {
  RandomStream stream(seed, stream_id);
  for (int64_t i = 0; i < count; ++i)
    out.push_back(static_cast<int32_t>(stream.next_below(static_cast<uint64_t>(vocab))));
}

}  // namespace

std::vector<LoadItem> draw_load(const Load& load) {
  std::vector<LoadItem> items;
  RandomStream arrivals(load.seed, kArrivals), lengths(load.seed, kLengths);
  double at = 0;
  for (int64_t i = 0; i < load.requests; ++i) {
    const int64_t input = load.prefix + length_near(load.input, load.range_ratio, lengths);
    items.push_back({at, input, length_near(load.output, load.range_ratio, lengths)});
    // Gaps of a Poisson process are exponential; 0 without end of the rate.
    at += -std::log1p(-static_cast<double>(arrivals.next_uniform())) / load.rate;
  }
  return items;
}

std::vector<int32_t> draw_prompt(const Load& load, const LoadItem& item, int64_t index, int64_t vocab) {
  std::vector<int32_t> prompt;
  draw_ids(load.seed, kPrefix, load.prefix, vocab, prompt);
  draw_ids(load.seed, kPrompts + static_cast<uint64_t>(index), item.input - load.prefix, vocab, prompt);
  return prompt;
}

int64_t longest(const std::vector<LoadItem>& items) {
  int64_t most = 0;
  for (const LoadItem& item : items) most = std::max(most, item.input + item.output);
  return most;
}

}  // namespace fathom::cli::bench
