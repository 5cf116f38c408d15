// Products of matrices that lie in the caches: what is left of a scan when a chunk of its rows is taken at
// once. Included by *_simd.cc files only, under the rules of vec.h.
//
// A matrix is kept padded (common/padded.h): its extents are rounded up to kPad, and what is behind them is
// zero. So no loop has a rest, and the first-level cache meets the rows of a strip in different places.
#pragma once

#include "kernels/common/padded.h"
#include "kernels/simd/columns.h"
#include "kernels/simd/vec.h"

namespace fathom::simd::FATHOM_SIMD_LEVEL {

using kernels::kPad;

// Scratch memory: element (i, j) at data[i * stride + j].
struct Matrix {
  float* data;
  int64_t stride;
  __attribute__((always_inline)) float* row(int64_t i) const { return data + i * stride; }
};

// Hands out the matrices of a worker's scratch memory.
struct Scratch {
  float* next;
  __attribute__((always_inline)) Matrix take(int64_t rows, int64_t columns) {
    const Matrix matrix{next, kernels::padded_stride(columns)};
    next += kernels::padded_size(rows, columns);
    return matrix;
  }
};

// The left side of a product as it is read: element (i, k) at data[i * row + k * step].
struct Left {
  const float* data;
  int64_t row, step;
};
FATHOM_INLINE Left as_is(Matrix m) { return {m.data, m.stride, 1}; }
FATHOM_INLINE Left transposed(Matrix m) { return {m.data, 1, m.stride}; }

// Which elements of the left side are not zero: all, those with k <= i, those with k >= i.
enum class Part { kAll, kLower, kUpper };
// What becomes of the product: it is put in place of what was there, or added.
enum class Into { kPut, kAdd };

// A tile lives in registers: kTileRows x up to kTileVecs vectors.
#if defined(FATHOM_HAS_AVX512)
constexpr int kTileRows = 8;
#else
constexpr int kTileRows = 4;
#endif
constexpr int kTileVecs = 3;
static_assert(kPad % kTileRows == 0 && kPad % kLanes == 0);

template <int kVecs>
struct Tile {
  Vec at[kTileRows][kVecs];
};

// a[rows from `row`, begin..end) b[begin..end, columns from b's first)
template <int kVecs>
FATHOM_INLINE Tile<kVecs> product_tile(Left a, int64_t row, const float* b, int64_t b_stride, int64_t begin,
                                       int64_t end) {
  const float* left = a.data + row * a.row;
  Tile<kVecs> tile;
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 3
    for (int v = 0; v < kVecs; ++v) tile.at[r][v] = Vec{};
  }
  for (int64_t k = begin; k < end; ++k) {
    Vec column[kVecs];
#pragma GCC unroll 3
    for (int v = 0; v < kVecs; ++v) column[v] = load(b + k * b_stride + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kTileRows; ++r) {
      const Vec x = broadcast(left[r * a.row + k * a.step]);
#pragma GCC unroll 3
      for (int v = 0; v < kVecs; ++v) tile.at[r][v] = fma(x, column[v], tile.at[r][v]);
    }
  }
  return tile;
}

// kVecs vectors of columns of c = or += a b, over [begin, end) of k.
template <int kVecs, Part kPart, Into kInto>
static __attribute__((noinline)) void multiply_strip(Left a, const float* b, int64_t b_stride, float* c,
                                                     int64_t c_stride, int64_t rows, int64_t begin,
                                                     int64_t end) {
  for (int64_t row = 0; row < rows; row += kTileRows) {
    const Tile<kVecs> tile = product_tile<kVecs>(a, row, b, b_stride, kPart == Part::kUpper ? row : begin,
                                                 kPart == Part::kLower ? row + kTileRows : end);
    float* const to = c + row * c_stride;
#pragma GCC unroll 8
    for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < kVecs; ++v) {
        float* at = to + r * c_stride + v * kLanes;
        store(at, kInto == Into::kAdd ? load(at) + tile.at[r][v] : tile.at[r][v]);
      }
    }
  }
}

// Calls strip(number of vectors, first column) for all columns, strips as even as they can be.
template <class Strip>
FATHOM_INLINE void for_each_strip(int64_t columns, const Strip& strip) {
  for (int64_t column = 0; column < columns;) {
    const int64_t left = (columns - column) / kLanes;
    const int64_t vecs = left > 4 || left == 3 ? 3 : left > 1 ? 2 : 1;
    strip(vecs, column);
    column += vecs * kLanes;
  }
}

template <Part kPart, Into kInto>
FATHOM_INLINE void multiply_steps(Left a, Matrix b, Matrix c, int64_t rows, int64_t columns, int64_t begin,
                                  int64_t end) {
  for_each_strip(
      columns, [&](int64_t vecs, int64_t column) __attribute__((always_inline)) {
        const float* right = b.data + column;
        float* out = c.data + column;
        switch (vecs) {
          case 1:
            return multiply_strip<1, kPart, kInto>(a, right, b.stride, out, c.stride, rows, begin, end);
          case 2:
            return multiply_strip<2, kPart, kInto>(a, right, b.stride, out, c.stride, rows, begin, end);
          default:
            return multiply_strip<3, kPart, kInto>(a, right, b.stride, out, c.stride, rows, begin, end);
        }
      });
}

// c = or += a b: a is [rows, depth], b [depth, columns]; all extents are multiples of kPad. A lower or upper
// left side is square. A strip of b stays in the first-level cache while all rows of a meet it, so depth is
// taken in pieces.
template <Into kInto, Part kPart = Part::kAll>
FATHOM_INLINE void multiply(Left a, Matrix b, Matrix c, int64_t rows, int64_t columns, int64_t depth) {
  constexpr int64_t kDepth = 128;
  if (kPart != Part::kAll || depth <= kDepth) {
    return multiply_steps<kPart, kInto>(a, b, c, rows, columns, 0, depth);
  }
  multiply_steps<kPart, kInto>(a, b, c, rows, columns, 0, kDepth);
  for (int64_t k = kDepth; k < depth; k += kDepth) {
    multiply_steps<kPart, Into::kAdd>(a, b, c, rows, columns, k, depth < k + kDepth ? depth : k + kDepth);
  }
}

// c = (1 - a)^-1 c, where only elements of a with k < i (lower) or k > i (upper) are not zero: rows in order
// (in reverse), each adding its share of those before. Inside a tile the rows are in registers.
template <int kVecs, Part kPart>
static __attribute__((noinline)) void solve_strip(Left a, float* c, int64_t stride, int64_t rows) {
  constexpr bool kIsLower = kPart == Part::kLower;
  for (int64_t i = 0; i < rows; i += kTileRows) {
    const int64_t row = kIsLower ? i : rows - kTileRows - i;
    Tile<kVecs> tile =
        product_tile<kVecs>(a, row, c, stride, kIsLower ? 0 : row + kTileRows, kIsLower ? row : rows);
#pragma GCC unroll 8
    for (int n = 0; n < kTileRows; ++n) {
      const int from = kIsLower ? n : kTileRows - 1 - n;
      float* const to = c + (row + from) * stride;
#pragma GCC unroll 3
      for (int v = 0; v < kVecs; ++v) {
        tile.at[from][v] = tile.at[from][v] + load(to + v * kLanes);
        store(to + v * kLanes, tile.at[from][v]);
      }
#pragma GCC unroll 8
      for (int m = n + 1; m < kTileRows; ++m) {
        const int r = kIsLower ? m : kTileRows - 1 - m;
        const Vec x = broadcast(a.data[(row + r) * a.row + (row + from) * a.step]);
#pragma GCC unroll 3
        for (int v = 0; v < kVecs; ++v) tile.at[r][v] = fma(x, tile.at[from][v], tile.at[r][v]);
      }
    }
  }
}

template <Part kPart>
FATHOM_INLINE void solve(Left a, Matrix c, int64_t rows, int64_t columns) {
  static_assert(kPart != Part::kAll);
  for_each_strip(
      columns, [&](int64_t vecs, int64_t column) __attribute__((always_inline)) {
        float* out = c.data + column;
        switch (vecs) {
          case 1:
            return solve_strip<1, kPart>(a, out, c.stride, rows);
          case 2:
            return solve_strip<2, kPart>(a, out, c.stride, rows);
          default:
            return solve_strip<3, kPart>(a, out, c.stride, rows);
        }
      });
}

// to[j, i] = from[i, j], both padded; `rows` and `columns` are those of `from`.
static __attribute__((noinline)) void transpose_to(Matrix from, Matrix to, int64_t rows, int64_t columns) {
  for (int64_t j = 0; j < columns; j += kLanes) {
    for (int64_t i = 0; i < rows; i += kLanes) {
      Vec tile[kLanes];
      for (int r = 0; r < kLanes; ++r) tile[r] = load(from.row(i + r) + j);
      transpose(tile);
      for (int r = 0; r < kLanes; ++r) store(to.row(j + r) + i, tile[r]);
    }
  }
}

FATHOM_INLINE void clear(Matrix m, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; j += kLanes) store(m.row(i) + j, Vec{});
  }
}

// Rows [0, rows) and columns [0, columns) of an array whose rows lie `stride` apart into a matrix, zeros
// behind them; with factors, each row times its own.
FATHOM_INLINE void copy_in(const float* from, int64_t stride, int64_t rows, int64_t columns, Matrix to,
                           const float* factors = nullptr) {
  const int64_t all_columns = kernels::padded(columns);
  for (int64_t i = 0; i < rows; ++i) {
    const float factor = factors == nullptr ? 1.0F : factors[i];
    for (int64_t j = 0; j < all_columns; j += kLanes) {
      const Vec value = j < columns ? load_n(from + i * stride + j, lanes_left(columns - j)) : Vec{};
      store(to.row(i) + j, value * factor);
    }
  }
  clear({to.row(rows), to.stride}, kernels::padded(rows) - rows, all_columns);
}

// The inverse; kAdd: to what is there.
template <Into kInto>
FATHOM_INLINE void copy_out(Matrix from, int64_t rows, int64_t columns, float* to, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      float* at = to + i * stride + j;
      const int64_t n = lanes_left(columns - j);
      const Vec value = load(from.row(i) + j);
      store_n(at, kInto == Into::kAdd ? load_n(at, n) + value : value, n);
    }
  }
}

// All elements times a factor; each row times its own.
FATHOM_INLINE void scale(Matrix m, int64_t rows, int64_t columns, float factor) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; j += kLanes) store(m.row(i) + j, load(m.row(i) + j) * factor);
  }
}
FATHOM_INLINE void scale_rows(Matrix m, int64_t rows, int64_t columns, const float* factors) {
  for (int64_t i = 0; i < rows; ++i) scale({m.row(i), m.stride}, 1, columns, factors[i]);
}

// sum_j a[j] b[j]; columns is a multiple of kLanes.
FATHOM_INLINE Vec products_of(const float* a, const float* b, int64_t columns) {
  Vec total = {};
  for (int64_t j = 0; j < columns; j += kLanes) total = fma(load(a + j), load(b + j), total);
  return total;
}

}  // namespace fathom::simd::FATHOM_SIMD_LEVEL
