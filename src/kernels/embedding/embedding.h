// Embedding: y[r, :] = table[ids[r], :]. Ids are checked against `vocab` (FATHOM_CHECK) before anything is
// written. Backward sums the rows of equal id in the order of r, so the result does not depend on threads.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "base/parallel.h"

namespace fathom::kernels {

struct EmbeddingFwd {
  const int32_t* ids = nullptr;  // [rows]
  const void* table = nullptr;   // [vocab, dim], float, bfloat16 or int8
  DType table_type = DType::kF32;
  float* y = nullptr;  // [rows, dim]
  int64_t rows = 0;
  int64_t dim = 0;
  int64_t vocab = 0;
  const float* table_scale = nullptr;  // [vocab] of int8, whose rows it multiplies; else null
};

struct EmbeddingBwd {
  const int32_t* ids = nullptr;   // [rows]
  const float* grad_y = nullptr;  // [rows, dim]
  float* grad_table = nullptr;    // [vocab, dim], overwritten or added to
  int64_t rows = 0;
  int64_t dim = 0;
  int64_t vocab = 0;
  bool accumulate = false;  // add to grad_table: a tied head has been there
};

void embedding_fwd_ref(const EmbeddingFwd& args);
void embedding_bwd_ref(const EmbeddingBwd& args);
void embedding_fwd_cpu(const EmbeddingFwd& args, Parallel& parallel);
void embedding_bwd_cpu(const EmbeddingBwd& args, Parallel& parallel);

}  // namespace fathom::kernels
