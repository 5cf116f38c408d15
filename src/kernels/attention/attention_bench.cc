// Limits: one row reads K and V (memory); many rows multiply (the fused multiply-add peak).
#include <cstring>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/half.h"
#include "kernels/attention/attention.h"
#include "kernels/common/benchmarking.h"

namespace fathom::kernels {
namespace {

// `rows` causal rows at the end of `keys` keys: panels in bfloat16, as the engine has them, rows in float, as
// training.
void bm_attention_fwd(benchmark::State& state) {
  const int64_t rows = state.range(0), keys = state.range(1), heads = state.range(2),
                kv_heads = state.range(3), dim = state.range(4);
  const DType type = state.range(5) != 0 ? DType::kBF16 : DType::kF32;
  const int64_t stripes = state.range(6);
  const int64_t block = kKeyBlock * kv_heads * dim * size_of(type);
  const int64_t blocks = (keys + kKeyBlock - 1) / kKeyBlock;
  AlignedBuffer k(blocks * block), v(blocks * block);
  std::memset(k.as(), 0, static_cast<size_t>(k.bytes()));
  std::memset(v.as(), 0, static_cast<size_t>(v.bytes()));
  std::vector<const void*> k_blocks, v_blocks;
  for (int64_t b = 0; b < blocks; ++b) {
    k_blocks.push_back(k.as() + b * block);
    v_blocks.push_back(v.as() + b * block);
  }
  const KeyList list = {k_blocks.data(), v_blocks.data()};
  std::vector<float> q(static_cast<size_t>(rows * heads * dim), 0.5F),
      out(q.size() * static_cast<size_t>(stripes));
  std::vector<int32_t> begin(static_cast<size_t>(rows), 0), end;
  double pairs = 0;
  for (int64_t r = 0; r < rows; ++r) {
    end.push_back(static_cast<int32_t>(keys - rows + r + 1));
    pairs += end.back();
  }
  std::vector<uint8_t> workspace(static_cast<size_t>(
      attention_fwd_workspace({rows, heads, dim, stripes, keys}, benchmarking::pool().num_threads())));
  for (auto _ : state) {
    attention_fwd_cpu({.q = q.data(),
                       .key_begin = begin.data(),
                       .key_end = end.data(),
                       .sequences = &list,
                       .kv_type = type,
                       .kv_layout = type == DType::kBF16 ? KeyLayout::kPanels : KeyLayout::kRows,
                       .out = out.data(),
                       .rows = rows,
                       .heads = heads,
                       .kv_heads = kv_heads,
                       .head_dim = dim,
                       .stripes = stripes,
                       .scale = 0.125F,
                       .workspace = workspace.data()},
                      benchmarking::pool());
    benchmark::ClobberMemory();
  }
  benchmarking::report(state, 2.0 * static_cast<double>(keys * kv_heads * dim * size_of(type)),
                       2.0 * pairs * static_cast<double>(heads * dim * (1 + stripes)), type);
}
BENCHMARK(bm_attention_fwd)
    ->ArgNames({"rows", "keys", "heads", "kv_heads", "dim", "bf16", "stripes"})
    ->Args({1, 4096, 15, 5, 64, 1, 1})
    ->Args({1, 4096, 15, 5, 64, 0, 1})
    ->Args({1, 4096, 16, 16, 64, 1, 1})
    ->Args({1, 4096, 40, 20, 64, 1, 1})
    ->Args({1, 4096, 40, 20, 64, 1, 2})
    ->Args({1, 256, 40, 20, 64, 1, 2})
    ->Args({1, 257, 40, 20, 64, 1, 2})
    ->Args({1, 512, 40, 20, 64, 1, 2})
    ->Args({1, 1024, 40, 20, 64, 1, 2})
    ->Args({1, 2048, 40, 20, 64, 1, 2})
    ->Args({1, 8192, 40, 20, 64, 1, 2})
    ->Args({1, 32768, 40, 20, 64, 1, 1})
    ->Args({1, 32768, 40, 20, 64, 1, 2})
    ->Args({512, 512, 15, 5, 64, 1, 1})
    ->Args({512, 512, 15, 5, 64, 0, 1})
    ->Args({2048, 2048, 15, 5, 64, 1, 1})
    ->Args({512, 512, 9, 3, 64, 0, 1})
    ->Args({512, 512, 8, 8, 128, 0, 1})
    ->Args({512, 512, 40, 20, 64, 1, 1})
    ->Args({512, 512, 40, 20, 64, 1, 2})
    ->UseRealTime();

void bm_attention_bwd(benchmark::State& state) {
  const int64_t rows = state.range(0), heads = state.range(1), kv_heads = state.range(2),
                dim = state.range(3);
  const int64_t stripes = state.range(5);
  std::vector<float> q(static_cast<size_t>(rows * heads * dim), 0.5F), grad_q(q.size()),
      out(q.size() * static_cast<size_t>(stripes), 0.5F), k(static_cast<size_t>(rows * kv_heads * dim), 0.1F),
      grad_k(k.size()), grad_v(k.size()), lse(static_cast<size_t>(rows * heads), 8.0F);
  std::vector<int32_t> begin(static_cast<size_t>(rows), 0), end;
  double pairs = 0;
  for (int64_t r = 0; r < rows; ++r) {
    end.push_back(static_cast<int32_t>(r + 1));
    pairs += end.back();
  }
  const RowRange range = {0, rows};
  const bool bf16 = state.range(4) != 0;
  std::vector<uint8_t> workspace(static_cast<size_t>(
      attention_bwd_workspace({rows, heads, dim, stripes, rows}, benchmarking::pool().num_threads())));
  for (auto _ : state) {
    attention_bwd_cpu({.q = q.data(),
                       .k = k.data(),
                       .v = k.data(),
                       .out = out.data(),
                       .lse = lse.data(),
                       .grad_out = out.data(),
                       .key_begin = begin.data(),
                       .key_end = end.data(),
                       .query_rows = &range,
                       .key_rows = &range,
                       .num_sequences = 1,
                       .grad_q = grad_q.data(),
                       .grad_k = grad_k.data(),
                       .grad_v = grad_v.data(),
                       .heads = heads,
                       .kv_heads = kv_heads,
                       .head_dim = dim,
                       .stripes = stripes,
                       .scale = 0.125F,
                       .bf16 = bf16,
                       .workspace = workspace.data()},
                      benchmarking::pool());
    benchmark::ClobberMemory();
  }
  benchmarking::report(state, static_cast<double>(8 * (q.size() * 4 + k.size() * 4)),
                       2.0 * pairs * static_cast<double>(heads * dim * (3 + 2 * stripes)));
}
BENCHMARK(bm_attention_bwd)
    ->ArgNames({"rows", "heads", "kv_heads", "dim", "bf16", "stripes"})
    ->ArgsProduct({{512}, {9}, {3}, {64}, {0, 1}, {1}})
    ->ArgsProduct({{512, 2048}, {15}, {5}, {64}, {0, 1}, {1}})
    ->ArgsProduct({{512}, {8}, {8}, {128}, {0, 1}, {1}})
    ->ArgsProduct({{512}, {16}, {8}, {64}, {0, 1}, {1, 2}})
    ->UseRealTime();

}  // namespace
}  // namespace fathom::kernels

BENCHMARK_MAIN();
