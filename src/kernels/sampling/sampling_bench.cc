// Limit: two exponentials a token of the vocabulary. Sorting all of it as well takes 2.6 to 3.9 times as long
// (49152).
#include <vector>

#include "base/random.h"
#include "kernels/common/benchmarking.h"
#include "kernels/sampling/sampling.h"

namespace fathom::kernels {
namespace {

void bm_sample(benchmark::State& state) {
  const int64_t vocab = state.range(0);
  const SamplingParams settings[] = {
      {.temperature = 0}, {}, {.temperature = 0.8F, .top_k = 40}, {.temperature = 0.8F, .top_p = 0.95F}};
  const SamplingParams params = settings[state.range(1)];
  std::vector<float> logits;
  for (int64_t v = 0; v < vocab; ++v) logits.push_back(3.0F * normal(1, 2, static_cast<uint64_t>(v)));
  std::vector<uint8_t> workspace(static_cast<size_t>(sampling_workspace(vocab)));
  uint64_t position = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(sample_cpu({logits.data(), vocab, params, 0, position++, workspace.data()}));
  }
  benchmarking::report(state, 4.0 * static_cast<double>(vocab), 0);
}
BENCHMARK(bm_sample)->ArgNames({"vocab", "setting"})->ArgsProduct({{49152, 200064}, {0, 1, 2, 3}});

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
