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

// Scores are few, one a row or one a depth: computed in double, so that they are the same on every level.
double softmax_total(const float* z, int64_t outputs, double& largest) {
  largest = *std::max_element(z, z + outputs);
  double total = 0;
  for (int64_t i = 0; i < outputs; ++i) total += std::exp(z[i] - largest);
  return total;
}

double score_of(RouterScore kind, const float* z, int64_t outputs, int64_t i) {
  switch (kind) {
    case RouterScore::kSigmoid:
      return 1.0 / (1.0 + std::exp(-double{z[i]}));
    case RouterScore::kTanh:
      return std::tanh(double{z[i]});
    case RouterScore::kIdentity:
      return z[i];
    case RouterScore::kSoftmax: {
      double largest = 0;
      const double total = softmax_total(z, outputs, largest);
      return std::exp(z[i] - largest) / total;
    }
  }
  return z[i];
}

// Gradient of logit i from those of the row's scores.
double slope_of(RouterScore kind, const float* z, const float* grads, int64_t outputs, int64_t i) {
  const double s = score_of(kind, z, outputs, i);
  switch (kind) {
    case RouterScore::kSigmoid:
      return grads[i] * s * (1.0 - s);
    case RouterScore::kTanh:
      return grads[i] * (1.0 - s * s);
    case RouterScore::kIdentity:
      return grads[i];
    case RouterScore::kSoftmax: {
      double mean = 0;
      for (int64_t j = 0; j < outputs; ++j) mean += grads[j] * score_of(kind, z, outputs, j);
      return s * (grads[i] - mean);
    }
  }
  return grads[i];
}

double alpha_of(RouterScore kind, float alpha) { return kind == RouterScore::kIdentity ? 1.0 : alpha; }

float rank(float value) { return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value; }

}  // namespace

void router_fwd_cpu(const RouterFwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(router_logit_rows);
  const double alpha = alpha_of(args.score, args.alpha);
  parallel.run(args.rows, 16, [&](int64_t begin, int64_t end, int) {
    rows_fn(args, begin, end);
    for (int64_t r = begin; r < end; ++r) {
      const float* const logits = args.logits + r * args.outputs;
      float* const weights = args.weights + r * args.outputs;
      for (int64_t i = 0; i < args.outputs; ++i)
        weights[i] = static_cast<float>(alpha * score_of(args.score, logits, args.outputs, i));
    }
  });
}

int64_t router_bwd_workspace(int64_t rows, int64_t dim, int64_t outputs) {
  return (row_blocks(rows) * dim + rows) * outputs;
}

void router_bwd_cpu(const RouterBwd& args, Parallel& parallel) {
  const auto rows_fn = FATHOM_SIMD_SELECT(router_bwd_rows);
  const int64_t size = args.outputs * args.dim;
  const double alpha = alpha_of(args.score, args.alpha);
  float* const slopes = args.workspace + row_blocks(args.rows) * size;
  parallel.run(row_blocks(args.rows), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; ++block) {
      float* partial = args.workspace + block * size;
      std::memset(partial, 0, static_cast<size_t>(size) * sizeof(float));
      const int64_t first = block * kRowBlock, last = std::min(first + kRowBlock, args.rows);
      for (int64_t r = first; r < last; ++r) {
        const int64_t row = r * args.outputs;
        for (int64_t i = 0; i < args.outputs; ++i) {
          double grad =
              alpha * slope_of(args.score, args.logits + row, args.grad_weights + row, args.outputs, i);
          if (args.grad_logits != nullptr) grad += args.grad_logits[row + i];
          slopes[row + i] = static_cast<float>(grad / args.temperature);
        }
      }
      rows_fn(args, slopes, first, last, partial);
    }
  });
  reduce_row_blocks(args.workspace, row_blocks(args.rows), size, args.grad_weight, parallel);
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
