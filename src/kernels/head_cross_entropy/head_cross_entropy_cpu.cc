#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "kernels/head_cross_entropy/head_cross_entropy_levels.h"

namespace fathom::kernels {

void head_cross_entropy_cpu(const HeadCrossEntropy& args, HeadProducts& products, Parallel& parallel) {
  FATHOM_CHECK(args.chunk_rows > 0, "a chunk has at least one row");
  for (int64_t r = 0; r < args.rows; ++r) {
    FATHOM_CHECK(args.labels[r] == kIgnoredLabel || (args.labels[r] >= 0 && args.labels[r] < args.vocab),
                 "label " + std::to_string(args.labels[r]) + " in row " + std::to_string(r) +
                     ", expected 0 to " + std::to_string(args.vocab - 1) + " or " +
                     std::to_string(kIgnoredLabel));
  }
  const auto row_fn = FATHOM_SIMD_SELECT(cross_entropy_row);
  const auto grad_fn = FATHOM_SIMD_SELECT(cross_entropy_grad_row);
  const float smoothing = args.label_smoothing;
  const float uniform = smoothing / static_cast<float>(args.vocab);
  std::vector<double> nll(static_cast<size_t>(std::min(args.chunk_rows, args.rows)));
  double loss = 0;
  for (int64_t first = 0; first < args.rows; first += args.chunk_rows) {
    const int64_t rows = std::min(args.chunk_rows, args.rows - first);
    const float* hidden = args.hidden + first * args.dim;
    products.logits(hidden, rows, args.workspace);
    parallel.run(rows, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        float* logits = args.workspace + i * args.vocab;
        const int32_t label = args.labels[first + i];
        nll[static_cast<size_t>(i)] = 0;
        if (label == kIgnoredLabel) {
          std::memset(logits, 0, static_cast<size_t>(args.vocab) * sizeof(float));
          continue;
        }
        const RowSoftmax row = row_fn(logits, args.vocab);
        const double lse = double{row.largest} + std::log(double{row.total});
        nll[static_cast<size_t>(i)] =
            (1.0 - smoothing) * (lse - logits[label]) + smoothing * (lse - double{row.mean});
        if (args.grad_hidden == nullptr) continue;
        grad_fn(logits, args.vocab, static_cast<float>(lse), args.loss_scale, uniform);
        logits[label] -= args.loss_scale * (1.0F - smoothing);
      }
    });
    for (int64_t i = 0; i < rows; ++i) {
      loss += args.loss_scale * nll[static_cast<size_t>(i)];
      if (args.nll != nullptr) args.nll[first + i] = static_cast<float>(nll[static_cast<size_t>(i)]);
    }
    if (args.grad_hidden == nullptr) continue;
    products.grad_hidden(args.workspace, rows, args.grad_hidden + first * args.dim);
    products.add_grad_weight(args.workspace, hidden, rows);
  }
  *args.loss = loss;
}

}  // namespace fathom::kernels
