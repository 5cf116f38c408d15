// Limit: arithmetic. Every (row, channel, state) is 5 flops forward and about 15 backward, whose replay of
// the states is 3 more. Decoding moves the state instead: 8 bytes an element.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/ssd_scan/ssd_scan.h"

namespace fathom::kernels {
namespace {

std::vector<float> filled(int64_t count, float value) {
  return std::vector<float>(static_cast<size_t>(count), value);
}

// The published sizes: heads of 64 channels, 128 states, one group.
SsdShape shape_of(int64_t heads) { return {heads, 64, 128, 1, heads * 64 + 2 * 128}; }

struct Inputs {
  Inputs(int64_t rows, const SsdShape& s)
      : xbc(benchmarking::varied(rows * s.x_stride)),
        dt(filled(rows * s.heads, -2.0F)),
        bias(filled(s.heads, 0.0F)),
        a(filled(s.heads, -3.0F)),
        d(filled(s.heads, 1.0F)),
        y(benchmarking::varied(rows * s.inner())),
        rates(filled(rows * 2 * s.heads, 0.5F)),
        workspace(filled(ssd_scan_chunks_workspace(s, benchmarking::pool().num_threads()), 0.0F)),
        shape(s) {}
  SsdScanFwd fwd(const std::vector<SsdSequence>& sequences) {
    return {.x = xbc.data(),
            .b = xbc.data() + shape.inner(),
            .c = xbc.data() + shape.inner() + shape.state,
            .dt = dt.data(),
            .dt_bias = bias.data(),
            .a = a.data(),
            .d = d.data(),
            .y = y.data(),
            .sequences = sequences.data(),
            .num_sequences = static_cast<int64_t>(sequences.size()),
            .rates = rates.data(),
            .workspace = workspace.data(),
            .shape = shape};
  }
  std::vector<float> xbc, dt, bias, a, d, y, rates, workspace;
  SsdShape shape;
};

// rows of one sequence, without state.
void bm_ssd_scan_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const SsdShape shape = shape_of(state.range(1));
  Inputs in(rows, shape);
  const std::vector<SsdSequence> sequences = {{{0, rows}, nullptr}};
  for (auto _ : state) {
    ssd_scan_fwd_cpu(in.fwd(sequences), benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * shape.inner());
  benchmarking::report(state, 8 * cells, 5 * cells * static_cast<double>(shape.state));
}
BENCHMARK(bm_ssd_scan_fwd)->Args({512, 32})->Args({2048, 64})->UseRealTime();

// The same by chunks.
void bm_ssd_scan_fwd_chunks(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const SsdShape shape = shape_of(state.range(1));
  Inputs in(rows, shape);
  const std::vector<SsdSequence> sequences = {{{0, rows}, nullptr}};
  for (auto _ : state) {
    ssd_scan_fwd_chunks_cpu(in.fwd(sequences), benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * shape.inner());
  benchmarking::report(state, 8 * cells, 5 * cells * static_cast<double>(shape.state));
}
BENCHMARK(bm_ssd_scan_fwd_chunks)->Args({512, 32})->Args({2048, 64})->UseRealTime();

// One row for each of many sequences, each with its own state.
void bm_ssd_scan_decode(benchmark::State& state) {
  const int64_t batch = state.range(0);
  const SsdShape shape = shape_of(state.range(1));
  const int64_t one = shape.inner() * shape.state;
  Inputs in(batch, shape);
  std::vector<float> states = filled(batch * one, 0.1F);
  std::vector<SsdSequence> sequences;
  for (int64_t s = 0; s < batch; ++s) sequences.push_back({{s, s + 1}, states.data() + s * one});
  for (auto _ : state) {
    ssd_scan_fwd_cpu(in.fwd(sequences), benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto elements = static_cast<double>(batch * one);
  benchmarking::report(state, 8 * elements, 5 * elements);
}
BENCHMARK(bm_ssd_scan_decode)->Args({1, 64})->Args({16, 64})->UseRealTime();

void bm_ssd_scan_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const SsdShape shape = shape_of(state.range(1));
  Inputs in(rows, shape);
  const RowRange range{0, rows};
  std::vector<float> checkpoints = filled(ssd_scan_checkpoints(&range, 1, shape), 0.1F), grad_x = in.xbc,
                     grad_b = filled(rows * shape.state, 0.0F), grad_c = grad_b, grad_dt = in.dt,
                     grad_bias = in.bias, grad_a = in.a, grad_d = in.d,
                     workspace = filled(
                         ssd_scan_bwd_workspace(rows, 1, shape, benchmarking::pool().num_threads()), 0.0F);
  const std::vector<SsdSequence> sequences = {{range, nullptr}};
  SsdScanFwd fwd = in.fwd(sequences);
  fwd.checkpoints = checkpoints.data();
  ssd_scan_fwd_cpu(fwd, benchmarking::pool());
  for (auto _ : state) {
    ssd_scan_bwd_cpu({.x = in.xbc.data(),
                      .b = in.xbc.data() + shape.inner(),
                      .c = in.xbc.data() + shape.inner() + shape.state,
                      .dt = in.dt.data(),
                      .dt_bias = in.bias.data(),
                      .a = in.a.data(),
                      .d = in.d.data(),
                      .grad_y = in.y.data(),
                      .rates = in.rates.data(),
                      .checkpoints = checkpoints.data(),
                      .sequences = &range,
                      .num_sequences = 1,
                      .grad_x = grad_x.data(),
                      .grad_b = grad_b.data(),
                      .grad_c = grad_c.data(),
                      .grad_dt = grad_dt.data(),
                      .grad_dt_bias = grad_bias.data(),
                      .grad_a_log = grad_a.data(),
                      .grad_d = grad_d.data(),
                      .workspace = workspace.data(),
                      .shape = shape,
                      .grad_x_stride = shape.x_stride},
                     benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * shape.inner());
  benchmarking::report(state, 12 * cells, 18 * cells * static_cast<double>(shape.state));
}
BENCHMARK(bm_ssd_scan_bwd)->Args({512, 32})->Args({2048, 64})->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
