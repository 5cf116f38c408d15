// Limit: arithmetic. Every (row, element of the state) is 7 flops forward and about 14 backward, whose replay
// of the states is 5 more. Decoding moves the state instead: 8 bytes an element.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/gated_delta/gated_delta.h"

namespace fathom::kernels {
namespace {

std::vector<float> filled(int64_t count, float value) {
  return std::vector<float>(static_cast<size_t>(count), value);
}

// The published sizes: keys of 256, values of 512.
DeltaShape shape_of(int64_t heads) { return {heads, 256, 512}; }

struct Inputs {
  Inputs(int64_t rows, const DeltaShape& s)
      : q(benchmarking::varied(rows * s.keys())),
        k(q),
        v(benchmarking::varied(rows * s.values())),
        y(v),
        dt(filled(rows * s.heads, -2.0F)),
        b(dt),
        bias(filled(s.heads, 0.0F)),
        a(filled(s.heads, -3.0F)),
        terms(filled(rows * kDeltaTerms * s.heads, 0.1F)),
        workspace(filled(gated_delta_fwd_workspace(s, benchmarking::pool().num_threads()), 0.0F)),
        shape(s) {}
  GatedDeltaFwd fwd(const std::vector<DeltaSequence>& sequences) {
    return {.q = q.data(),
            .k = k.data(),
            .v = v.data(),
            .dt = dt.data(),
            .b = b.data(),
            .dt_bias = bias.data(),
            .a = a.data(),
            .y = y.data(),
            .sequences = sequences.data(),
            .num_sequences = static_cast<int64_t>(sequences.size()),
            .terms = terms.data(),
            .workspace = workspace.data(),
            .shape = shape};
  }
  std::vector<float> q, k, v, y, dt, b, bias, a, terms, workspace;
  DeltaShape shape;
};

double elements_of(const DeltaShape& shape) { return static_cast<double>(shape.keys() * shape.value_dim); }

// rows of one sequence, without state.
void bm_gated_delta_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const DeltaShape shape = shape_of(state.range(1));
  Inputs in(rows, shape);
  const std::vector<DeltaSequence> sequences = {{{0, rows}, nullptr}};
  for (auto _ : state) {
    gated_delta_fwd_cpu(in.fwd(sequences), benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto length = static_cast<double>(rows);
  benchmarking::report(state, 8 * length * static_cast<double>(shape.keys() + shape.values()),
                       7 * length * elements_of(shape));
}
BENCHMARK(bm_gated_delta_fwd)->Args({512, 3})->Args({2048, 6})->UseRealTime();

// The same by chunks.
void bm_gated_delta_fwd_chunks(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const DeltaShape shape = shape_of(state.range(1));
  Inputs in(rows, shape);
  const RowRange range{0, rows};
  const std::vector<DeltaSequence> sequences = {{range, nullptr}};
  in.workspace =
      filled(gated_delta_chunks_workspace(&range, 1, shape, benchmarking::pool().num_threads()), 0.0F);
  for (auto _ : state) {
    gated_delta_fwd_chunks_cpu(in.fwd(sequences), benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto length = static_cast<double>(rows);
  benchmarking::report(state, 8 * length * static_cast<double>(shape.keys() + shape.values()),
                       7 * length * elements_of(shape));
}
BENCHMARK(bm_gated_delta_fwd_chunks)->Args({512, 3})->Args({2048, 6})->UseRealTime();

// One row for each of many sequences, each with its own state.
void bm_gated_delta_decode(benchmark::State& state) {
  const int64_t batch = state.range(0);
  const DeltaShape shape = shape_of(state.range(1));
  const int64_t one = shape.keys() * shape.value_dim;
  Inputs in(batch, shape);
  std::vector<float> states = filled(batch * one, 0.1F);
  std::vector<DeltaSequence> sequences;
  for (int64_t s = 0; s < batch; ++s) sequences.push_back({{s, s + 1}, states.data() + s * one});
  for (auto _ : state) {
    gated_delta_fwd_cpu(in.fwd(sequences), benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const double elements = static_cast<double>(batch) * elements_of(shape);
  benchmarking::report(state, 8 * elements, 7 * elements);
}
BENCHMARK(bm_gated_delta_decode)->Args({1, 6})->Args({16, 6})->UseRealTime();

void bm_gated_delta_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const DeltaShape shape = shape_of(state.range(1));
  Inputs in(rows, shape);
  const RowRange range{0, rows};
  const std::vector<DeltaSequence> sequences = {{range, nullptr}};
  std::vector<float> checkpoints = filled(gated_delta_checkpoints(&range, 1, shape), 0.1F), grad_q = in.q,
                     grad_k = in.k, grad_v = in.v, grad_dt = in.dt, grad_b = in.b, grad_bias = in.bias,
                     grad_a = in.a,
                     workspace = filled(
                         gated_delta_bwd_workspace(&range, 1, shape, benchmarking::pool().num_threads()),
                         0.0F);
  GatedDeltaFwd fwd = in.fwd(sequences);
  fwd.checkpoints = checkpoints.data();
  gated_delta_fwd_cpu(fwd, benchmarking::pool());
  for (auto _ : state) {
    gated_delta_bwd_cpu({.q = in.q.data(),
                         .k = in.k.data(),
                         .v = in.v.data(),
                         .dt = in.dt.data(),
                         .b = in.b.data(),
                         .dt_bias = in.bias.data(),
                         .a = in.a.data(),
                         .grad_y = in.y.data(),
                         .terms = in.terms.data(),
                         .checkpoints = checkpoints.data(),
                         .sequences = &range,
                         .num_sequences = 1,
                         .grad_q = grad_q.data(),
                         .grad_k = grad_k.data(),
                         .grad_v = grad_v.data(),
                         .grad_dt = grad_dt.data(),
                         .grad_b = grad_b.data(),
                         .grad_dt_bias = grad_bias.data(),
                         .grad_a_log = grad_a.data(),
                         .workspace = workspace.data(),
                         .shape = shape},
                        benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto length = static_cast<double>(rows);
  benchmarking::report(state, 16 * length * static_cast<double>(shape.keys() + shape.values()),
                       19 * length * elements_of(shape));
}
BENCHMARK(bm_gated_delta_bwd)->Args({512, 3})->Args({2048, 6})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
