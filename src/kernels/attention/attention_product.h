// The one product of attention: a few rows times a panel that lies in cache. Included by attention_simd.cc
// only.
#pragma once

#include "kernels/attention/attention_pack.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// Vectors of a row of c that are kept in registers together with those of `rows` rows: so many sums that a
// multiply-add need not wait for the one before, and no more than there are registers for.
constexpr int step_vecs(int rows) {
#if defined(FATHOM_HAS_AVX512)
  return rows == 1 ? 8 : 4;
#else
  return rows == 1 ? 8 : rows <= 3 ? 4 : rows == 4 ? 3 : 2;
#endif
}

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
  // Columns of b lie in panels of so many, a multiple of the lanes, so many elements from one to the next.
  int64_t panel = INT64_MAX;
  int64_t next_panel = 0;
  int64_t first_column = 0;  // those before are left alone
  // Panels of bfloat16 meet few rows, once, and come from memory: what to ask for meanwhile, which lies as b
  // does, panels of panel_rows rows one after the other.
  const char* ahead = nullptr;
  int64_t panel_rows = 0;
};

// Walks over the columns of b from the first one wanted, a vector at a time. It divides once at most:
// divisions for every vector took a tenth of a product of few rows.
class Columns {
 public:
  explicit Columns(const Product& p)
      : panel_(p.panel), to_next_(p.next_panel - p.panel), at_(p.first_column), left_(p.panel) {
    if (at_ < panel_) {
      left_ -= at_;
    } else {
      const int64_t panels = at_ / panel_;
      left_ -= at_ - panels * panel_;
      at_ += panels * to_next_;
    }
  }
  // Where the next vector begins.
  int64_t next() {
    const int64_t at = at_;
    at_ += kLanes;
    left_ -= kLanes;
    if (left_ == 0) {
      at_ += to_next_;
      left_ = panel_;
    }
    return at;
  }

 private:
  int64_t panel_, to_next_;  // columns of a panel, and from its end to the next
  int64_t at_, left_;        // the next vector, and columns of its panel from there on
};

template <Panel kPanel, int kRows, int kVecs>
FATHOM_INLINE void multiply_vecs(const Product& p, int64_t n, Columns& columns, int64_t from, int64_t to,
                                 bool add) {
  Vec total[kRows][kVecs];
  float* const c = p.c + n;
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVecs; ++v) total[i][v] = add ? load(c + i * p.c_row + v * kLanes) : Vec{};
  }
  const float* a = p.a + from / (kPanel == Panel::kPairs ? 2 : 1) * p.a_step;
  const int64_t first_row = from / (kPanel == Panel::kBf16Pairs || kPanel == Panel::kPairs ? 2 : 1);
  int64_t b = first_row * p.b_row;
  constexpr bool kAsks = kPanel == Panel::kBf16 || kPanel == Panel::kBf16Pairs;
  constexpr int64_t kElement = kPanel == Panel::kBf16 ? 2 : 4, kRowBytes = kVecs * kLanes * kElement;
  const char* ahead = nullptr;
  if constexpr (kAsks) ahead = p.ahead + n * p.panel_rows * kElement + first_row * kRowBytes;
  // As much of what is ahead as these vectors have in a row.
  const auto ask_for_row = [&]() __attribute__((always_inline)) {
    constexpr int64_t kLine = 64;
    for (int64_t at = 0; at < kRowBytes; at += kLine) __builtin_prefetch(ahead + at);
    ahead += kRowBytes;
  };
  // Row k of b, by vector_of(v), times column k of a. The fewer of the two stay in registers for it.
  const auto add_row = [&](const float* of_k, auto vector_of) __attribute__((always_inline)) {
    const auto x_of = [&](int i) __attribute__((always_inline)) { return broadcast(of_k[i * p.a_row]); };
    const auto add_to = [](Vec & sum, Vec x, Vec of_b) __attribute__((always_inline)) {
      sum = kPanel == Panel::kPairs ? add_product_of_pairs(x, of_b, sum) : fma(x, of_b, sum);
    };
    if constexpr (kRows < kVecs) {
      Vec x[kRows];
      for (int i = 0; i < kRows; ++i) x[i] = x_of(i);
      for (int v = 0; v < kVecs; ++v) {
        const Vec of_b = vector_of(v);
        for (int i = 0; i < kRows; ++i) add_to(total[i][v], x[i], of_b);
      }
    } else {
      Vec of_b[kVecs];
      for (int v = 0; v < kVecs; ++v) of_b[v] = vector_of(v);
      for (int i = 0; i < kRows; ++i) {
        const Vec x = x_of(i);
        for (int v = 0; v < kVecs; ++v) add_to(total[i][v], x, of_b[v]);
      }
    }
  };
  int64_t column[kVecs];
  for (int v = 0; v < kVecs; ++v) column[v] = columns.next();
  const auto word = [&](int v) __attribute__((always_inline)) {
    return load((const float*)p.b + b + column[v]);
  };
  if constexpr (kPanel == Panel::kBf16Pairs) {
    for (int64_t k = from; k < to; k += 2, a += 2 * p.a_step, b += p.b_row) {
      ask_for_row();
      add_row(
          a, [&](int v) __attribute__((always_inline)) { return first_of_pair(word(v)); });
      add_row(
          a + p.a_step, [&](int v) __attribute__((always_inline)) { return second_of_pair(word(v)); });
    }
  } else if constexpr (kPanel == Panel::kPairs) {
    for (int64_t k = from / 2; 2 * k < to; ++k, a += p.a_step, b += p.b_row) add_row(a, word);
  } else {
    for (int64_t k = from; k < to; ++k, a += p.a_step, b += p.b_row) {
      if constexpr (kAsks) ask_for_row();
      add_row(
          a, [&](int v) __attribute__((always_inline)) {
            return load_kv<kPanel == Panel::kBf16>(p.b, b + column[v]);
          });
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVecs; ++v) store(c + i * p.c_row + v * kLanes, total[i][v]);
  }
}

// Vectors from n on, kVecs at a time and then fewer.
template <Panel kPanel, int kRows, int kVecs>
FATHOM_INLINE void multiply_from(const Product& p, int64_t n, int64_t end, Columns& columns, int64_t from,
                                 int64_t to, bool add) {
  for (; n + (kVecs - 1) * kLanes < end; n += kVecs * kLanes) {
    multiply_vecs<kPanel, kRows, kVecs>(p, n, columns, from, to, add);
  }
  if constexpr (kVecs > 1) multiply_from<kPanel, kRows, kVecs / 2>(p, n, end, columns, from, to, add);
}
template <Panel kPanel, int kRows>
static __attribute__((noinline)) void multiply_rows(const Product& p, int64_t end, int64_t from, int64_t to,
                                                    bool add) {
  Columns columns(p);
  multiply_from<kPanel, kRows, step_vecs(kRows)>(p, p.first_column, end, columns, from, to, add);
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
