#include <cstring>
#include <string>

#include "base/check.h"
#include "base/half.h"
#include "kernels/embedding/embedding.h"

namespace fathom::kernels {

namespace {

void check_ids(const int32_t* ids, int64_t rows, int64_t vocab) {
  for (int64_t r = 0; r < rows; ++r) {
    FATHOM_CHECK(ids[r] >= 0 && ids[r] < vocab, "token id " + std::to_string(ids[r]) + " in row " +
                                                    std::to_string(r) + ", expected 0 to " +
                                                    std::to_string(vocab - 1));
  }
}

}  // namespace

void embedding_fwd_ref(const EmbeddingFwd& args) {
  check_ids(args.ids, args.rows, args.vocab);
  for (int64_t r = 0; r < args.rows; ++r) {
    const int64_t entry = args.ids[r] * args.dim;
    for (int64_t d = 0; d < args.dim; ++d) {
      if (args.table_type == DType::kI8) {
        args.y[r * args.dim + d] =
            args.table_scale[args.ids[r]] * static_cast<const int8_t*>(args.table)[entry + d];
        continue;
      }
      args.y[r * args.dim + d] = args.table_type == DType::kF32
                                     ? static_cast<const float*>(args.table)[entry + d]
                                     : to_float(static_cast<const BFloat16*>(args.table)[entry + d]);
    }
  }
}

void embedding_bwd_ref(const EmbeddingBwd& args) {
  check_ids(args.ids, args.rows, args.vocab);
  for (int64_t v = 0; v < args.vocab; ++v) {
    for (int64_t d = 0; d < args.dim; ++d) {
      double total = args.accumulate ? args.grad_table[v * args.dim + d] : 0.0;
      for (int64_t r = 0; r < args.rows; ++r) {
        if (args.ids[r] == v) total += args.grad_y[r * args.dim + d];
      }
      args.grad_table[v * args.dim + d] = static_cast<float>(total);
    }
  }
}

}  // namespace fathom::kernels
