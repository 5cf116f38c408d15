#include "kernels/linear/linear_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// A tile of R rows by O outputs lives in registers. Every output is one accumulator over the input in steps
// of kLanes, the last step masked, then one tree: the same order in every tile, so tiles may be cut anywhere.
#if defined(FATHOM_HAS_AVX512)
constexpr int kTileRows = 6;
#else
constexpr int kTileRows = 3;
#endif
constexpr int kTileOuts = 4;
constexpr int kRowOuts = 8;  // of a single row, to have enough chains of fma in flight

template <bool kBf16>
FATHOM_INLINE Vec load_weight(const void* weight, int64_t index) {
  return kBf16 ? load_bf16((const uint16_t*)weight + index) : load((const float*)weight + index);
}
template <bool kBf16>
FATHOM_INLINE Vec load_weight_n(const void* weight, int64_t index, int64_t n) {
  return kBf16 ? load_bf16_n((const uint16_t*)weight + index, n) : load_n((const float*)weight + index, n);
}

template <int R, int O, bool kBf16>
FATHOM_INLINE void tile(const LinearFwd& args, int64_t row, int64_t out) {
  Vec total[R][O] = {};
  const int64_t in = args.in;
  const float* x = args.x + row * args.x_stride;
  int64_t i = 0;
  for (; i + kLanes <= in; i += kLanes) {
    Vec xs[R];
    for (int r = 0; r < R; ++r) xs[r] = load(x + r * args.x_stride + i);
    for (int o = 0; o < O; ++o) {
      const Vec w = load_weight<kBf16>(args.weight, (out + o) * in + i);
      for (int r = 0; r < R; ++r) total[r][o] = fma(xs[r], w, total[r][o]);
    }
  }
  if (i < in) {
    const int64_t n = in - i;
    for (int o = 0; o < O; ++o) {
      const Vec w = load_weight_n<kBf16>(args.weight, (out + o) * in + i, n);
      for (int r = 0; r < R; ++r) total[r][o] = fma(load_n(x + r * args.x_stride + i, n), w, total[r][o]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int o = 0; o < O; ++o) {
      float value = sum(total[r][o]);
      if (args.bias != nullptr) value += args.bias[out + o];
      value *= args.scale;
      float* y = args.y + (row + r) * args.y_stride + out + o;
      *y = args.accumulate ? *y + value : value;
    }
  }
}

template <bool kBf16>
FATHOM_INLINE void block(const LinearFwd& args, int64_t row_begin, int64_t row_end, int64_t out_begin,
                         int64_t out_end) {
  int64_t row = row_begin;
  if (row_end - row_begin >= kTileRows) {
    int64_t out = out_begin;
    for (; out + kTileOuts <= out_end; out += kTileOuts) {
      for (row = row_begin; row + kTileRows <= row_end; row += kTileRows)
        tile<kTileRows, kTileOuts, kBf16>(args, row, out);
    }
    for (; out < out_end; ++out) {
      for (row = row_begin; row + kTileRows <= row_end; row += kTileRows)
        tile<kTileRows, 1, kBf16>(args, row, out);
    }
    row = row_begin + (row_end - row_begin) / kTileRows * kTileRows;
  }
  for (; row < row_end; ++row) {
    int64_t out = out_begin;
    for (; out + kRowOuts <= out_end; out += kRowOuts) tile<1, kRowOuts, kBf16>(args, row, out);
    for (; out < out_end; ++out) tile<1, 1, kBf16>(args, row, out);
  }
}

}  // namespace

void linear_fwd_block(const LinearFwd& args, int64_t row_begin, int64_t row_end, int64_t out_begin,
                      int64_t out_end) {
  if (args.weight_type == DType::kBF16) {
    block<true>(args, row_begin, row_end, out_begin, out_end);
  } else {
    block<false>(args, row_begin, row_end, out_begin, out_end);
  }
}

void linear_round_row(const float* x, float* rounded, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t n = lanes_left(count - i);
    const HVec half = to_bf16(load_n(x + i, n));
    store_n(rounded + i, (Vec)(__builtin_convertvector(half, IVec) << 16), n);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
