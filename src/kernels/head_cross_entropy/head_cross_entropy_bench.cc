// What the op adds to its matrix products, which are left out here. Limit: memory; a row of logits is read
// twice and turned into gradients in place, and lies in the cache from the second time on.
#include <vector>

#include "base/random.h"
#include "kernels/common/benchmarking.h"
#include "kernels/head_cross_entropy/head_cross_entropy.h"

namespace fathom::kernels {
namespace {

class NoProducts final : public HeadProducts {
 public:
  void logits(const float*, int64_t, float*) override {}
  void grad_hidden(const float*, int64_t, float*) override {}
  void add_grad_weight(const float*, const float*, int64_t) override {}
};

void bm_head_cross_entropy(benchmark::State& state) {
  const int64_t rows = state.range(0), vocab = state.range(1);
  const bool gradients = state.range(2) != 0;
  std::vector<float> logits(static_cast<size_t>(rows * vocab), 0.5F), grad_hidden(static_cast<size_t>(rows));
  const std::vector<float> hidden(static_cast<size_t>(rows));
  const std::vector<int32_t> labels(static_cast<size_t>(rows), 3);
  NoProducts products;
  double loss = 0;
  for (auto _ : state) {
    head_cross_entropy_cpu({.hidden = hidden.data(),
                            .labels = labels.data(),
                            .loss = &loss,
                            .grad_hidden = gradients ? grad_hidden.data() : nullptr,
                            .workspace = logits.data(),
                            .rows = rows,
                            .dim = 1,
                            .vocab = vocab,
                            .chunk_rows = rows},
                           products, benchmarking::pool());
    benchmark::DoNotOptimize(loss);
  }
  const auto elements = static_cast<double>(rows * vocab);
  benchmarking::report(state, (gradients ? 8 : 4) * elements, 0);
}
BENCHMARK(bm_head_cross_entropy)
    ->ArgNames({"rows", "vocab", "gradients"})
    ->ArgsProduct({{256}, {49152}, {0, 1}})
    ->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
