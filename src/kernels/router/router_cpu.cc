#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>

#include "base/check.h"
#include "kernels/common/row_blocks.h"
#include "kernels/router/router_levels.h"

namespace fathom::kernels {

namespace {

// Scores are few, one a row: computed in double, so that they are the same on every level.
double score_of(RouterScore kind, double z) {
  switch (kind) {
    case RouterScore::kSigmoid:
      return 1.0 / (1.0 + std::exp(-z));
    case RouterScore::kTanh:
      return std::tanh(z);
    case RouterScore::kIdentity:
      return z;
  }
  return z;
}

double slope_of(RouterScore kind, double z) {
  const double s = score_of(kind, z);
  return kind == RouterScore::kSigmoid ? s * (1.0 - s) : kind == RouterScore::kTanh ? 1.0 - s * s : 1.0;
}

double alpha_of(RouterScore kind, float alpha) { return kind == RouterScore::kIdentity ? 1.0 : alpha; }

float rank(float value) { return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value; }

}  // namespace

void router_fwd_cpu(const RouterFwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(router_logit_rows);
  parallel.run(args.rows, 16, [&](int64_t begin, int64_t end, int) {
    rows_fn(args, begin, end);
    for (int64_t r = begin; r < end; ++r) {
      args.weights[r] =
          static_cast<float>(alpha_of(args.score, args.alpha) * score_of(args.score, args.logits[r]));
    }
  });
}

int64_t router_bwd_workspace(int64_t rows, int64_t dim) { return row_blocks(rows) * dim + rows; }

void router_bwd_cpu(const RouterBwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(router_bwd_rows);
  float* const slopes = args.workspace + row_blocks(args.rows) * args.dim;
  parallel.run(row_blocks(args.rows), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; ++block) {
      float* partial = args.workspace + block * args.dim;
      std::memset(partial, 0, static_cast<size_t>(args.dim) * sizeof(float));
      const int64_t first = block * kRowBlock, last = std::min(first + kRowBlock, args.rows);
      for (int64_t r = first; r < last; ++r) {
        double grad =
            args.grad_weights[r] * alpha_of(args.score, args.alpha) * slope_of(args.score, args.logits[r]);
        if (args.grad_logits != nullptr) grad += args.grad_logits[r];
        slopes[r] = static_cast<float>(grad / args.temperature);
      }
      rows_fn(args, slopes, first, last, partial);
    }
  });
  reduce_row_blocks(args.workspace, row_blocks(args.rows), args.dim, args.grad_weight, parallel);
}

void router_top_k_cpu(const RouterTopK& args, Parallel& /*parallel*/) {
  int32_t* kept = args.kept;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const RowRange rows = args.sequences[s];
    FATHOM_CHECK(args.keep[s] >= 0 && args.keep[s] <= rows.size(),
                 "keeping " + std::to_string(args.keep[s]) + " of " + std::to_string(rows.size()) + " rows");
    int32_t* const order = args.workspace;
    std::iota(order, order + rows.size(), static_cast<int32_t>(rows.begin));
    const auto before = [&](int32_t a, int32_t b) {
      if (rank(args.weights[a]) != rank(args.weights[b]))
        return rank(args.weights[a]) > rank(args.weights[b]);
      if (rank(args.logits[a]) != rank(args.logits[b])) return rank(args.logits[a]) > rank(args.logits[b]);
      return a < b;
    };
    std::nth_element(order, order + args.keep[s], order + rows.size(), before);
    std::sort(order, order + args.keep[s]);
    kept = std::copy(order, order + args.keep[s], kept);
  }
}

}  // namespace fathom::kernels
