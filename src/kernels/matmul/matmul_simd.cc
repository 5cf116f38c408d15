#include "kernels/matmul/matmul_tile.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

namespace {

// The sums of a tile of c.
template <int kVecs>
struct TileSums {
  Vec of[kTileRows][kVecs];
};

// Sums in double. A float of b becomes a double once for all rows; a has doubles.
FATHOM_INLINE TileSums<1> sum_in_double(const void* a, const void* b, int64_t steps) {
  const auto* columns = (const char*)b;
  Wide low[kTileRows], high[kTileRows];
#pragma GCC unroll 14
  for (int r = 0; r < kTileRows; ++r) low[r] = high[r] = Wide{};
  for (int64_t k = 0; k < steps; ++k) {
    const Wide first = load_wide((const float*)(columns + k * (int64_t)sizeof(Vec)));
    const Wide second = load_wide((const float*)(columns + k * (int64_t)sizeof(Vec) + sizeof(Vec) / 2));
#pragma GCC unroll 14
    for (int r = 0; r < kTileRows; ++r) {
      const Wide row = broadcast_wide(element_at<double>(a, k * kTileRows + r));
      low[r] = fma(row, first, low[r]);
      high[r] = fma(row, second, high[r]);
    }
  }
  TileSums<1> sums;
#pragma GCC unroll 14
  for (int r = 0; r < kTileRows; ++r) sums.of[r][0] = narrow(low[r], high[r]);
  return sums;
}

// Words are floats, or pairs of bfloat16 where there is an instruction for them.
template <bool kPairs>
FATHOM_INLINE Vec multiply_add(IVec a, IVec b, Vec sum) {
#if defined(FATHOM_SIMD_avx512_bf16)
  if constexpr (kPairs) return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#endif
  return fma((Vec)a, (Vec)b, sum);
}

template <bool kPairs>
FATHOM_INLINE TileSums<kTileVecs> sum_in_float(const void* a, const void* b, int64_t steps) {
  const auto* columns = (const char*)b;
  TileSums<kTileVecs> sums;
#pragma GCC unroll 14
  for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; ++v) sums.of[r][v] = Vec{};
  }
  for (int64_t k = 0; k < steps; ++k) {
    IVec column[kTileVecs];
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; ++v) {
      column[v] = (IVec)load((const float*)(columns + (k * kTileVecs + v) * (int64_t)sizeof(Vec)));
    }
#pragma GCC unroll 14
    for (int r = 0; r < kTileRows; ++r) {
      const IVec row = element_at<int32_t>(a, k * kTileRows + r) - IVec{};
#pragma GCC unroll 2
      for (int v = 0; v < kTileVecs; ++v) sums.of[r][v] = multiply_add<kPairs>(row, column[v], sums.of[r][v]);
    }
  }
  return sums;
}

template <MatmulPrecision kPrecision>
FATHOM_INLINE auto sum_tile(const void* a, const void* b, int64_t steps) {
  constexpr MatmulElement kElement = layout_of(kPrecision).a;
  if constexpr (kElement == MatmulElement::kDouble) {
    return sum_in_double(a, b, steps);
  } else {
    return sum_in_float<kElement == MatmulElement::kPair>(a, b, steps);
  }
}

// Scaled, put or added to the `rows` x `columns` elements of c that exist.
template <int kVecs>
FATHOM_INLINE void finish(const TileSums<kVecs>& sums, float* c, int64_t c_stride, int64_t rows,
                          int64_t columns, float scale, bool add) {
  if (rows >= kTileRows && columns >= kVecs * kLanes) {
#pragma GCC unroll 14
    for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v) {
        float* at = c + r * c_stride + v * kLanes;
        const Vec value = sums.of[r][v] * scale;
        store(at, add ? load(at) + value : value);
      }
    }
    return;
  }
  for (int r = 0; r < kTileRows && r < rows; ++r) {
    for (int v = 0; v < kVecs && v * kLanes < columns; ++v) {
      float* at = c + r * c_stride + v * kLanes;
      const int64_t n = lanes_left(columns - v * kLanes);
      const Vec value = sums.of[r][v] * scale;
      store_n(at, add ? load_n(at, n) + value : value, n);
    }
  }
}

template <MatmulPrecision kPrecision>
void multiply_block(const Matmul& args, const MatmulBlock& block) {
  constexpr MatmulLayout kLayout = layout_of(kPrecision);
  constexpr int64_t kBytesOfA = kLayout.rows * bytes_of(kLayout.a);
  constexpr int64_t kBytesOfB = kLayout.columns * bytes_of(kLayout.b);
  const int64_t steps = steps_of(kLayout.a, args.k);
  const bool add = args.accumulate || block.begin > 0;
  for (int64_t column = block.column_begin; column < block.column_end; ++column) {
    const char* b = (const char*)args.b + (column * steps + block.begin) * kBytesOfB;
    const int64_t columns = args.columns - column * kLayout.columns;
    for (int64_t row = block.row_begin; row < block.row_end; ++row) {
      const char* a = (const char*)args.a + (row * steps + block.begin) * kBytesOfA;
      float* c = args.c + row * kLayout.rows * args.c_stride + column * kLayout.columns;
      const int64_t rows = args.rows - row * kLayout.rows;
      // c is wanted at the end only: it comes while the sums are made.
      for (int r = 0; r < kLayout.rows && r < rows; ++r) {
        __builtin_prefetch(c + r * args.c_stride, 1);
        __builtin_prefetch(c + r * args.c_stride + kLayout.columns - 1, 1);
      }
      finish(sum_tile<kPrecision>(a, b, block.end - block.begin), c, args.c_stride, rows, columns, args.scale,
             add);
    }
  }
}

}  // namespace

MatmulLayout matmul_layout(MatmulPrecision precision) { return layout_of(precision); }

void matmul_block(const Matmul& args, const MatmulBlock& block) {
  switch (args.precision) {
    case MatmulPrecision::kF32DoubleSums:
      return multiply_block<MatmulPrecision::kF32DoubleSums>(args, block);
    case MatmulPrecision::kF32:
      return multiply_block<MatmulPrecision::kF32>(args, block);
    case MatmulPrecision::kBF16:
      return multiply_block<MatmulPrecision::kBF16>(args, block);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
