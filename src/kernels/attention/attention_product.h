// The one product of attention: a few rows times a panel that lies in cache. Included by attention_simd.cc
// only.
#pragma once

#include "kernels/attention/attention_pack.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// Vectors of a row of c that are kept in registers together with kStepQueries rows.
#if defined(FATHOM_HAS_AVX512)
constexpr int kStepVecs = 4;
#else
constexpr int kStepVecs = 2;
#endif

// How b lies: floats; bfloat16, widened where it is used; or bfloat16 with the elements of rows 2k and 2k + 1
// side by side, b_row then leading to the next two rows. kPairs: so does a, and a_step leads to its next two
// columns; then whole pairs are multiplied, and what lies beside [from, to) in one of them must be zero.
enum class Panel { kFloat, kBf16, kBf16Pairs, kPairs };

// c[i, n] (+)= sum_k a[i, k] b[k, n], k in order (of a pair the second first), one chain of multiply-adds an
// element, whatever the number of rows and the panel. b and c are padded to whole vectors.
struct Product {
  const float* a;  // element (i, k) at i * a_row + k * a_step
  int64_t a_row;
  int64_t a_step;
  const void* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
};

template <Panel kPanel, int kRows, int kVecs>
FATHOM_INLINE void multiply_vecs(const Product& p, int64_t n, int64_t from, int64_t to, bool add) {
  Vec total[kRows][kVecs];
  float* const c = p.c + n;
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVecs; ++v) total[i][v] = add ? load(c + i * p.c_row + v * kLanes) : Vec{};
  }
  const float* a = p.a + from / (kPanel == Panel::kPairs ? 2 : 1) * p.a_step;
  int64_t b = from / (kPanel == Panel::kBf16Pairs || kPanel == Panel::kPairs ? 2 : 1) * p.b_row + n;
  Vec panel[kVecs];
  const auto add_row = [&](const float* of_k) __attribute__((always_inline)) {
    for (int i = 0; i < kRows; ++i) {
      const Vec x = broadcast(of_k[i * p.a_row]);
      for (int v = 0; v < kVecs; ++v) {
        total[i][v] = kPanel == Panel::kPairs ? add_product_of_pairs(x, panel[v], total[i][v])
                                              : fma(x, panel[v], total[i][v]);
      }
    }
  };
  if constexpr (kPanel == Panel::kBf16Pairs) {
    for (int64_t k = from; k < to; k += 2, a += 2 * p.a_step, b += p.b_row) {
      for (int v = 0; v < kVecs; ++v) panel[v] = first_of_pair(load((const float*)p.b + b + v * kLanes));
      add_row(a);
      for (int v = 0; v < kVecs; ++v) panel[v] = second_of_pair(load((const float*)p.b + b + v * kLanes));
      add_row(a + p.a_step);
    }
  } else if constexpr (kPanel == Panel::kPairs) {
    for (int64_t k = from / 2; 2 * k < to; ++k, a += p.a_step, b += p.b_row) {
      for (int v = 0; v < kVecs; ++v) panel[v] = load((const float*)p.b + b + v * kLanes);
      add_row(a);
    }
  } else {
    for (int64_t k = from; k < to; ++k, a += p.a_step, b += p.b_row) {
      for (int v = 0; v < kVecs; ++v) panel[v] = load_kv<kPanel == Panel::kBf16>(p.b, b + v * kLanes);
      add_row(a);
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVecs; ++v) store(c + i * p.c_row + v * kLanes, total[i][v]);
  }
}

template <Panel kPanel, int kRows>
static __attribute__((noinline)) void multiply_rows(const Product& p, int64_t columns, int64_t from,
                                                    int64_t to, bool add) {
  int64_t n = 0;
  for (; n + (kStepVecs - 1) * kLanes < columns; n += kStepVecs * kLanes) {
    multiply_vecs<kPanel, kRows, kStepVecs>(p, n, from, to, add);
  }
  for (; n < columns; n += kLanes) multiply_vecs<kPanel, kRows, 1>(p, n, from, to, add);
}

// `rows` of at most kStepQueries, `columns` rounded up to whole vectors, k of [from, to).
template <Panel kPanel = Panel::kFloat>
FATHOM_INLINE void multiply(const Product& p, int64_t rows, int64_t columns, int64_t from, int64_t to,
                            bool add) {
  static_assert(kStepQueries == 6, "one case for each number of rows");
  switch (rows) {
    case 1:
      return multiply_rows<kPanel, 1>(p, columns, from, to, add);
    case 2:
      return multiply_rows<kPanel, 2>(p, columns, from, to, add);
    case 3:
      return multiply_rows<kPanel, 3>(p, columns, from, to, add);
    case 4:
      return multiply_rows<kPanel, 4>(p, columns, from, to, add);
    case 5:
      return multiply_rows<kPanel, 5>(p, columns, from, to, add);
    default:
      return multiply_rows<kPanel, 6>(p, columns, from, to, add);
  }
}

}  // namespace

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
