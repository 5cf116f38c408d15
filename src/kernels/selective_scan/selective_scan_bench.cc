// Limit: arithmetic. Every (row, channel, state) needs one exponential, about 18 flops forward and 40
// backward; memory moves 12 bytes a (row, channel) forward. Decoding moves the state instead: 8 bytes an
// element.
#include <vector>

#include "kernels/common/benchmarking.h"
#include "kernels/selective_scan/selective_scan.h"

namespace fathom::kernels {
namespace {

constexpr int64_t kState = 16;

std::vector<float> filled(int64_t count, float value) {
  return std::vector<float>(static_cast<size_t>(count), value);
}

struct Inputs {
  Inputs(int64_t rows, int64_t inner)
      : x(filled(rows * inner, 0.5F)),
        dt(filled(rows * inner, -2.0F)),
        bias(filled(inner, 0.0F)),
        a(filled(inner * kState, -3.0F)),
        bc(filled(rows * 2 * kState, 0.25F)),
        d(filled(inner, 1.0F)),
        y(filled(rows * inner, 0.0F)) {}
  std::vector<float> x, dt, bias, a, bc, d, y;
};

// Sequences of equal length, [count * length, inner] together.
std::vector<RowRange> sequences_of(int64_t count, int64_t length) {
  std::vector<RowRange> sequences;
  for (int64_t s = 0; s < count; ++s) sequences.push_back({s * length, (s + 1) * length});
  return sequences;
}

// Whole sequences, without state.
void bm_selective_scan_fwd(benchmark::State& state) {
  const int64_t count = state.range(0), rows = count * state.range(1), inner = state.range(2);
  Inputs in(rows, inner);
  std::vector<ScanSequence> sequences;
  for (const RowRange& range : sequences_of(count, state.range(1))) sequences.push_back({range, nullptr});
  for (auto _ : state) {
    selective_scan_fwd_cpu(
        {in.x.data(), in.dt.data(), in.bias.data(), in.a.data(), in.bc.data(), in.bc.data() + kState,
         in.d.data(), in.y.data(), sequences.data(), count, nullptr, inner, kState, 2 * kState},
        benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * inner);
  benchmarking::report(state, 12 * cells, 18 * cells * kState);
}
BENCHMARK(bm_selective_scan_fwd)
    ->Args({1, 512, 1536})
    ->Args({1, 2048, 2976})
    ->Args({1, 512, 5120})
    ->Args({8, 256, 64})
    ->Args({8, 256, 496})
    ->UseRealTime();

// One row for each of many sequences, each with its own state.
void bm_selective_scan_decode(benchmark::State& state) {
  const int64_t batch = state.range(0), inner = state.range(1);
  Inputs in(batch, inner);
  std::vector<float> states = filled(batch * inner * kState, 0.1F);
  std::vector<ScanSequence> sequences;
  for (int64_t s = 0; s < batch; ++s) sequences.push_back({{s, s + 1}, states.data() + s * inner * kState});
  for (auto _ : state) {
    selective_scan_fwd_cpu(
        {in.x.data(), in.dt.data(), in.bias.data(), in.a.data(), in.bc.data(), in.bc.data() + kState,
         in.d.data(), in.y.data(), sequences.data(), batch, nullptr, inner, kState, 2 * kState},
        benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto elements = static_cast<double>(batch * inner * kState);
  benchmarking::report(state, 8 * elements, 18 * elements);
}
BENCHMARK(bm_selective_scan_decode)->Args({1, 5120})->Args({16, 5120})->UseRealTime();

void bm_selective_scan_bwd(benchmark::State& state) {
  const int64_t count = state.range(0), rows = count * state.range(1), inner = state.range(2);
  Inputs in(rows, inner);
  const std::vector<RowRange> sequences = sequences_of(count, state.range(1));
  std::vector<float> checkpoints =
                         filled(selective_scan_checkpoints(sequences.data(), count, inner, kState), 0.1F),
                     grad_x = in.x, grad_dt = in.x, grad_bias = in.bias, grad_a = in.a,
                     grad_b = filled(rows * kState, 0.0F), grad_c = grad_b, grad_d = in.d,
                     workspace = filled(selective_scan_bwd_workspace(rows, count, inner, kState), 0.0F);
  for (auto _ : state) {
    selective_scan_bwd_cpu({in.x.data(),
                            in.dt.data(),
                            in.bias.data(),
                            in.a.data(),
                            in.bc.data(),
                            in.bc.data() + kState,
                            in.d.data(),
                            in.y.data(),
                            checkpoints.data(),
                            sequences.data(),
                            count,
                            grad_x.data(),
                            grad_dt.data(),
                            grad_bias.data(),
                            grad_a.data(),
                            grad_b.data(),
                            grad_c.data(),
                            grad_d.data(),
                            workspace.data(),
                            inner,
                            kState,
                            2 * kState},
                           benchmarking::pool());
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<double>(rows * inner);
  benchmarking::report(state, 20 * cells, 40 * cells * kState);
}
BENCHMARK(bm_selective_scan_bwd)
    ->Args({1, 512, 1536})
    ->Args({1, 2048, 2976})
    ->Args({1, 512, 5120})
    ->Args({8, 256, 64})
    ->Args({8, 256, 496})
    ->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
