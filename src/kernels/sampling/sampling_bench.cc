// Limit: reading the logits once. Flat: normal logits, so that thousands of tokens share the weight; peaked:
// 400 tokens stand out of them as a model's do. The rest of a draw is on one thread and grows with the tokens
// that it cannot rule out.
#include <cmath>
#include <vector>

#include "base/random.h"
#include "kernels/common/benchmarking.h"
#include "kernels/sampling/sampling.h"

namespace fathom::kernels {
namespace {

void bm_sample(benchmark::State& state) {
  const int64_t vocab = state.range(0);
  const bool peaked = state.range(1) == 1;
  const SamplingParams settings[] = {{.temperature = 0},
                                     {},
                                     {.temperature = 0.8F},
                                     {.temperature = 0.6F, .top_p = 0.95F},
                                     {.temperature = 0.8F, .top_k = 50},
                                     {.min_p = 0.05F}};
  const SamplingParams params = settings[state.range(2)];
  std::vector<float> logits;
  for (int64_t v = 0; v < vocab; ++v) {
    logits.push_back((peaked ? 2.0F : 3.0F) * normal(1, 2, static_cast<uint64_t>(v)));
  }
  for (int64_t i = 0; peaked && i < 400; ++i) {
    logits[static_cast<size_t>((i * 7919 + 13) % vocab)] =
        16.0F - 1.6F * std::log(static_cast<float>(i + 1)) + 0.3F * normal(3, 4, static_cast<uint64_t>(i));
  }
  std::vector<uint8_t> workspace(static_cast<size_t>(sampling_workspace(vocab)));
  uint64_t position = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        sample_cpu({logits.data(), vocab, params, 0, position++, workspace.data()}, benchmarking::pool()));
  }
  benchmarking::report(state, 4.0 * static_cast<double>(vocab), 0);
}
BENCHMARK(bm_sample)
    ->ArgNames({"vocab", "peaked", "setting"})
    ->ArgsProduct({{49152, 200064}, {0, 1}, {0, 1, 2, 3, 4, 5}});

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
