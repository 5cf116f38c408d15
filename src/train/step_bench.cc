#include "train/step_bench.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/random.h"
#include "plan/count.h"
#include "train/executor.h"
#include "train/memory_estimate.h"
#include "train/optimizer.h"
#include "train/torch_parallel.h"

namespace fathom::train {

namespace {

Batch random_rows(int64_t rows, int64_t length, int64_t vocab, uint64_t stream) {
  Batch batch;
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i <= length; ++i) {
      const auto at = static_cast<uint64_t>(row * (length + 1) + i);
      tokens.push_back(static_cast<int32_t>(uniform(1, stream, at) * static_cast<float>(vocab)));
    }
    batch.add({tokens.begin(), tokens.end() - 1}, {tokens.begin() + 1, tokens.end()});
  }
  return batch;
}

}  // namespace

struct StepBench::State {
  State(ModelPlan p, const StepBenchOptions& o)
      : options(o),
        plan(std::move(p)),
        parameters(plan),
        optimizer(plan, config, parameters),
        executor(plan, parameters) {
    init_parameters(plan, 1, parameters);
  }
  StepBenchOptions options;
  OptimizerConfig config;
  ModelPlan plan;
  Parameters parameters;
  Optimizer optimizer;
  Executor executor;
  int64_t steps = 0;
};

StepBench::StepBench(std::unique_ptr<State> state) : state_(std::move(state)) {}
StepBench::StepBench(StepBench&&) noexcept = default;
StepBench::~StepBench() = default;

Result<StepBench> StepBench::create(const ModelSpec& spec, const StepBenchOptions& options) {
  if (options.rows % options.accumulation != 0) {
    return invalid("--rows " + std::to_string(options.rows) + " does not divide into " +
                   std::to_string(options.accumulation) + " micro-batches");
  }
  FATHOM_ASSIGN(ModelPlan plan, build_plan(spec));
  set_threads(options.threads);
  return StepBench(std::make_unique<State>(std::move(plan), options));
}

double StepBench::step() {
  State& s = *state_;
  const StepBenchOptions& options = s.options;
  std::vector<Batch> batches;
  for (int64_t m = 0; m < options.accumulation; ++m) {
    batches.push_back(random_rows(options.rows / options.accumulation, options.length, s.plan.dims.vocab_size,
                                  static_cast<uint64_t>(s.steps * options.accumulation + m)));
  }
  ForwardOptions forward;
  forward.precision = options.precision;
  forward.loss_scale = 1.0 / static_cast<double>(tokens());
  SteadyClock clock;
  const double start = clock.seconds();
  s.parameters.clear_gradients();
  for (const Batch& batch : batches) {
    const ForwardResult passed = s.executor.forward(batch, forward);
    passed.loss.backward();
  }
  s.optimizer.update(++s.steps, 1e-4, s.optimizer.gradient_norms());
  return clock.seconds() - start;
}

int64_t StepBench::parameters() const { return count_parameters(state_->plan).unique; }
int64_t StepBench::tokens() const { return state_->options.rows * state_->options.length; }
double StepBench::flops_per_token() const {
  return 3 * count_flops(state_->plan, state_->options.length).total();
}
int64_t StepBench::memory_estimate() const {
  const StepBenchOptions& options = state_->options;
  return training_bytes(state_->plan, {.rows = tokens() / options.accumulation,
                                       .accumulation = options.accumulation,
                                       .bf16 = options.precision == Precision::kBF16});
}
int StepBench::threads() const { return torch_parallel().num_threads(); }

double product_flops(Precision precision) {
  constexpr int64_t kSide = 2048;
  const at::NoGradGuard no_graph;
  const Tensor a = at::full({kSide, kSide}, 0.5, precision == Precision::kBF16 ? at::kBFloat16 : at::kFloat),
               b = a.clone();
  SteadyClock clock;
  double best = 0;
  for (int i = 0; i < 4; ++i) {
    const double start = clock.seconds();
    const Tensor c = at::linear(a, b);
    if (i > 0) best = std::max(best, 2.0 * kSide * kSide * kSide / (clock.seconds() - start));
  }
  return best;
}

}  // namespace fathom::train
