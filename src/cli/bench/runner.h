// Runs workloads of one model on the engine.
#pragma once

#include <map>

#include "cli/bench/bench_model.h"
#include "cli/bench/bracketed_timer.h"
#include "engine/executor.h"

namespace fathom::cli::bench {

// How the state comes to hold the tokens before a workload.
enum class DepthFill : uint8_t {
  kPrefill,  // the engine reads that many tokens
  kRandom    // keys, values and states are drawn; routed segments hold the share of tokens that their
             // capacities say
};

struct RunnerOptions {
  MatrixTypes matrix_type = DType::kBF16;  // of the model's weights: what the GEMM peak is measured for
  DType kv_type = DType::kBF16;
  Numerics numerics = {};
  int64_t chunk = 512;  // rows of a prefill's calls at most
  DepthFill fill = DepthFill::kPrefill;
  bool prefill_shortcut = true;  // false: every row of a prompt goes through every layer
};

class Runner {
 public:
  // Model, probe, pool and clock outlive the runner. `workloads` are those that will be run.
  Runner(const BenchModel& model, std::span<const Workload> workloads, const RunnerOptions& options,
         kernels::ReadProbe& probe, Parallel& parallel, Clock& clock);

  // Runs every workload once untimed (of a generation, one token), and calibrates the probe.
  void warm_up();
  // One repetition of each workload in turn, appended to measurements()[i].
  void round();
  // One more run of each, observed.
  void profile();

  std::vector<Measurement>& measurements() { return measurements_; }
  const std::string& gemm_loop() const { return gemm_loop_; }
  std::string read_loop() const { return kernels::name_of(probe_.best()); }

 private:
  // Brings the states of the workload's sequences to its depth.
  void restore(const Workload& workload);
  void fill_randomly(SequenceState& state, int64_t depth) const;
  // `lap` is called between the engine's calls.
  template <class Lap>
  void run(const Workload& workload, const Lap& lap);
  // The next `rows` tokens of each of the first sequences.
  void forward(int64_t sequences, int64_t rows, Logits logits);
  Repetition time(const Workload& workload);
  // Fills in what the workload had to do, from the depths that run() met.
  void count(Measurement& m) const;

  const BenchModel& model_;
  const RunnerOptions options_;
  Parallel& parallel_;
  Clock& clock_;
  kernels::ReadProbe& probe_;
  std::string gemm_loop_;
  std::vector<Measurement> measurements_;
  std::vector<int32_t> tokens_;
  int64_t chunk_;
  Executor executor_;
  std::vector<SequenceState> states_;
  std::vector<SequenceCall> calls_;
  std::map<int64_t, SequenceState> filled_;  // by depth
  // [r]: tokens of the last run that made pass r, and calls in which one did.
  std::vector<int64_t> reached_, reached_calls_;
};

// Bytes of memory that a runner for these workloads asks for beside the weights, about.
int64_t runner_bytes(const ModelPlan& plan, std::span<const Workload> workloads,
                     const RunnerOptions& options);

}  // namespace fathom::cli::bench
