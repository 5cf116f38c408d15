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
constexpr int kRowOuts = 8;      // of a single row, to have enough chains of fma in flight
constexpr int64_t kPanel = 512;  // inputs; kTileOuts of them as float are a quarter of the first-level cache

template <bool kBf16>
FATHOM_INLINE Vec load_weight(const void* weight, int64_t index) {
  return kBf16 ? load_bf16((const uint16_t*)weight + index) : load((const float*)weight + index);
}
template <bool kBf16>
FATHOM_INLINE Vec load_weight_n(const void* weight, int64_t index, int64_t n) {
  return kBf16 ? load_bf16_n((const uint16_t*)weight + index, n) : load_n((const float*)weight + index, n);
}

// Adds `count` inputs to the accumulators; x and weight stand at the first of them. Only the last call of an
// output may have a count that is no multiple of kLanes.
template <int R, int O, bool kBf16>
FATHOM_INLINE void accumulate(const float* x, int64_t x_stride, const void* weight, int64_t weight_stride,
                              int64_t count, Vec total[R][O]) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Vec xs[R];
    for (int r = 0; r < R; ++r) xs[r] = load(x + r * x_stride + i);
    for (int o = 0; o < O; ++o) {
      const Vec w = load_weight<kBf16>(weight, o * weight_stride + i);
      for (int r = 0; r < R; ++r) total[r][o] = fma(xs[r], w, total[r][o]);
    }
  }
  if (i < count) {
    const int64_t n = count - i;
    for (int o = 0; o < O; ++o) {
      const Vec w = load_weight_n<kBf16>(weight, o * weight_stride + i, n);
      for (int r = 0; r < R; ++r) total[r][o] = fma(load_n(x + r * x_stride + i, n), w, total[r][o]);
    }
  }
}

// Sums the accumulators, kLanes of them at a time, and writes the outputs.
template <int R, int O>
FATHOM_INLINE void finish(const LinearFwd& args, int64_t row, int64_t out, Vec total[R][O]) {
  constexpr int kGroups = (R * O + kLanes - 1) / kLanes;
  float sums[kGroups * kLanes];
  for (int g = 0; g < kGroups; ++g) {
    Vec group[kLanes] = {};
    for (int i = 0; i < kLanes && g * kLanes + i < R * O; ++i) {
      group[i] = total[(g * kLanes + i) / O][(g * kLanes + i) % O];
    }
    store(sums + g * kLanes, sum_each(group));
  }
  for (int r = 0; r < R; ++r) {
    for (int o = 0; o < O; ++o) {
      float value = sums[r * O + o];
      if (args.bias != nullptr) value += args.bias[out + o];
      value *= args.scale;
      float* y = args.y + (row + r) * args.y_stride + out + o;
      *y = args.accumulate ? *y + value : value;
    }
  }
}

// A single row waits for the weights: they are read once, straight from where they lie.
template <int O, bool kBf16>
FATHOM_INLINE void single(const LinearFwd& args, int64_t row, int64_t out) {
  Vec total[1][O] = {};
  const char* weight = (const char*)args.weight + out * args.in * (kBf16 ? 2 : 4);
  accumulate<1, O, kBf16>(args.x + row * args.x_stride, args.x_stride, weight, args.in, args.in, total);
  finish<1, O>(args, row, out, total);
}

// Weights of O outputs, inputs [begin, begin + count), as float.
struct Panel {
  const float* weight;
  int64_t stride;
  int64_t begin, count;
  bool first, last;
};

// One tile over one panel. Between panels the accumulators wait in `kept` as they are, so that the order of
// sums does not see the panels.
template <int R, int O>
FATHOM_INLINE void tile(const LinearFwd& args, const Panel& panel, int64_t row, int64_t out, Vec* kept) {
  Vec total[R][O];
  for (int r = 0; r < R; ++r) {
    for (int o = 0; o < O; ++o) total[r][o] = panel.first ? Vec{} : kept[r * O + o];
  }
  accumulate<R, O, false>(args.x + row * args.x_stride + panel.begin, args.x_stride, panel.weight,
                          panel.stride, panel.count, total);
  if (panel.last) return finish<R, O>(args, row, out, total);
  for (int r = 0; r < R; ++r) {
    for (int o = 0; o < O; ++o) kept[r * O + o] = total[r][o];
  }
}

// The tile of the rows left over, R or fewer.
template <int R, int O>
FATHOM_INLINE void last_tile(const LinearFwd& args, const Panel& panel, int64_t rows, int64_t row,
                             int64_t out, Vec* kept) {
  if (rows == R) return tile<R, O>(args, panel, row, out, kept);
  if constexpr (R > 1) last_tile<R - 1, O>(args, panel, rows, row, out, kept);
}

// Several rows: the weights of O outputs come panel by panel into the first-level cache (widened there, once,
// if they are bfloat16) and meet all rows of the block.
template <int O, bool kBf16>
FATHOM_INLINE void outputs(const LinearFwd& args, int64_t row_begin, int64_t row_end, int64_t out) {
  Vec kept[kLinearRowBlock * O];
  float wide[kBf16 ? O * kPanel : 1];
  int64_t begin = 0;
  do {  // at least once: without inputs the outputs are the bias
    const int64_t count = args.in - begin < kPanel ? args.in - begin : kPanel;
    Panel panel = {wide, kPanel, begin, count, begin == 0, begin + count == args.in};
    const int64_t at = out * args.in + begin;
    if (kBf16) {
      for (int o = 0; o < O; ++o) {
        for (int64_t i = 0; i < count; i += kLanes) {
          store(wide + o * kPanel + i,
                load_bf16_n((const uint16_t*)args.weight + at + o * args.in + i, lanes_left(count - i)));
        }
      }
    } else {
      panel.weight = (const float*)args.weight + at;
      panel.stride = args.in;
    }
    int64_t row = row_begin;
    for (; row + kTileRows <= row_end; row += kTileRows) {
      tile<kTileRows, O>(args, panel, row, out, kept + (row - row_begin) * O);
    }
    if (row < row_end) {
      last_tile<kTileRows - 1, O>(args, panel, row_end - row, row, out, kept + (row - row_begin) * O);
    }
    begin += kPanel;
  } while (begin < args.in);
}

template <bool kBf16>
FATHOM_INLINE void block(const LinearFwd& args, int64_t row_begin, int64_t row_end, int64_t out_begin,
                         int64_t out_end) {
  int64_t out = out_begin;
  if (row_end - row_begin == 1) {
    for (; out + kRowOuts <= out_end; out += kRowOuts) single<kRowOuts, kBf16>(args, row_begin, out);
    for (; out < out_end; ++out) single<1, kBf16>(args, row_begin, out);
    return;
  }
  for (; out + kTileOuts <= out_end; out += kTileOuts) {
    outputs<kTileOuts, kBf16>(args, row_begin, row_end, out);
  }
  for (; out < out_end; ++out) outputs<1, kBf16>(args, row_begin, row_end, out);
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
