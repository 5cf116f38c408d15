// The pieces of attention that are compiled once per instruction-set level.
#pragma once

#include "kernels/attention/attention.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// A softmax not yet divided: value = acc / total, in units of exp(max).
struct SoftmaxPart {
  float max;
  float total;
};

// One query head of one row over the keys [begin, end) that lie in one split. acc [head_dim] is overwritten;
// scores is scratch of kKeyBlock floats.
FATHOM_SIMD_DECLARE(SoftmaxPart, attention_part,
                    (const AttentionFwd& args, int64_t row, int64_t head, int64_t begin, int64_t end,
                     float* acc, float* scores))
// Adds a later part to an earlier one.
FATHOM_SIMD_DECLARE(SoftmaxPart, attention_merge,
                    (SoftmaxPart earlier, float* earlier_acc, SoftmaxPart later, const float* later_acc,
                     int64_t head_dim))
// out = acc / total.
FATHOM_SIMD_DECLARE(void, attention_finish,
                    (SoftmaxPart part, const float* acc, float* out, int64_t head_dim))
// All rows of one sequence and all query heads of one KV head. scratch: 2 * kKeyBlock floats.
FATHOM_SIMD_DECLARE(void, attention_bwd_head,
                    (const AttentionBwd& args, int64_t sequence, int64_t kv_head, float* scratch))

}  // namespace fathom::kernels
