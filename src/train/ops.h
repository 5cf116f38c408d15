// The kernels as differentiable operations on LibTorch tensors. Tensors are float, dense, [rows, dim]; row
// sets are described by plain vectors. Sources of the formulas: the kernels' headers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/common/row_range.h"
#include "kernels/router/router.h"
#include "train/precision.h"

namespace fathom::train {

using at::Tensor;
using kernels::RowRange;

// Rows of the table, [rows, dim].
Tensor embedding(const Tensor& table, const std::vector<int32_t>& ids);

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

// x W^T + b; in Precision::kBF16 x, W and, going back, the gradient of the output are rounded to bfloat16 as
// they are read, while sums and what is written stay float. bias may be undefined.
struct LinearWeights {
  Tensor weight, bias;  // [out, in], [out]
};
Tensor linear(const Tensor& x, const LinearWeights& layer, Precision precision);
// Several layers that read the same x, which is prepared for them once.
std::vector<Tensor> linears(const Tensor& x, const std::vector<LinearWeights>& layers, Precision precision);

// x + bias in every row.
Tensor add_bias(const Tensor& x, const Tensor& bias);

// base + x * scale / divisor, column by column; scale is [dim] or one number, base and divisor may be
// undefined. divisor is a constant.
Tensor scale_columns(const Tensor& x, const Tensor& scale, const Tensor& divisor, const Tensor& base);

// What is dropped is a function of the key, the share and the place in x.
struct DropoutKey {
  uint64_t seed = 0, stream = 0;
};
Tensor dropout(const Tensor& x, double share, DropoutKey key);

// Norms of the rows of weight + scaling * b a, [out]; no gradient flows through them.
Tensor adapted_norms(const Tensor& weight, const Tensor& a, const Tensor& b, double scaling);

// Rotary tables, [positions, head_dim / 2] each.
struct RopeTables {
  std::vector<float> cos, sin;
  int64_t positions = 0, head_dim = 0;
};
// Fills cos and sin, which have their sizes already.
void fill_rope_tables(RopeTables& tables, double theta, bool round_to_bf16,
                      bool round_frequencies_to_bf16 = false);
// x [rows, heads * head_dim] rotated by each row's position.
Tensor rope(const Tensor& x, const std::shared_ptr<const RopeTables>& tables,
            const std::shared_ptr<const std::vector<int32_t>>& positions, int64_t heads);

// Which keys each query row sees, and which rows belong together.
struct AttentionRows {
  std::vector<int32_t> key_begin, key_end;     // [query rows], indices in the sequence's key rows
  std::vector<RowRange> query_rows, key_rows;  // by sequence
  std::vector<int32_t> sequence;               // [query rows]
};
struct AttentionShape {
  int64_t heads = 0, kv_heads = 0, head_dim = 0, stripes = 1;
  double scale = 0;
  kernels::AttentionDropout dropout{};
};
// [rows, heads * stripes * head_dim]. In Precision::kBF16 four of the five products going back take elements
// rounded to bfloat16.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const std::shared_ptr<const AttentionRows>& rows, AttentionShape shape, Precision precision);

// lambda of a layer of differential attention, from its four vectors; one number.
Tensor differential_lambda(const Tensor& q1, const Tensor& k1, const Tensor& q2, const Tensor& k2,
                           double lambda_init);
// The normalised differences of neighbouring heads of x, [rows, 2 * pairs * dim], where weight is [dim].
Tensor differential_norm(const Tensor& x, const Tensor& lambda, const Tensor& weight, double scale,
                         double eps);

Tensor swiglu(const Tensor& gate, const Tensor& up);
// weight may be undefined: without the norm.
Tensor gated_memory(const Tensor& memory, const Tensor& gate, const Tensor& weight, double eps);
// bias may be undefined.
Tensor causal_conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                     const std::vector<RowRange>& sequences);
// dt_b_c [rows, dt_rank + 2 state] holds b and c behind dt_rank columns; dt [rows, inner] is dt_proj's
// output.
Tensor selective_scan(const Tensor& x, const Tensor& dt, const Tensor& dt_bias, const Tensor& a_log,
                      const Tensor& dt_b_c, const Tensor& d, int64_t dt_rank,
                      const std::vector<RowRange>& sequences);

// xbc [rows, heads * head_dim + 2 groups * state] holds x, b and c; dt [rows, heads], the others [heads].
struct SsdSizes {
  int64_t head_dim = 0, state = 0, groups = 1;
};
Tensor ssd_scan(const Tensor& xbc, const Tensor& dt, const Tensor& dt_bias, const Tensor& a_log,
                const Tensor& d, SsdSizes sizes, const std::vector<RowRange>& sequences);

struct DeltaInputs {
  Tensor q, k, v;         // [rows, heads * key_dim] twice, [rows, heads * value_dim]
  Tensor dt, b;           // [rows, heads]
  Tensor dt_bias, a_log;  // [heads]
};
Tensor gated_delta(const DeltaInputs& inputs, const std::vector<RowRange>& sequences);

Tensor gelu(const Tensor& x, double scale);

struct RouterScores {
  Tensor logits, weights;  // [rows, outputs] each
};
// weight [outputs, dim].
RouterScores router_scores(const Tensor& x, const Tensor& weight, double temperature, double alpha,
                           kernels::RouterScore score);
// Mean over rows of the binary cross entropy against "was kept"; a scalar.
Tensor router_bce(const Tensor& logits, const std::vector<int32_t>& kept);

Tensor gather_rows(const Tensor& x, const std::vector<int32_t>& index);
// y with weights[i] * x[i] added to row index[i]; weights may be undefined.
Tensor scatter_add_rows(const Tensor& y, const Tensor& x, const std::vector<int32_t>& index,
                        const Tensor& weights);

// y with x[i] in place of row index[i].
Tensor replace_rows(const Tensor& y, const Tensor& x, const std::vector<int32_t>& index);

// Rows whose logits are held at a time: at most 128 MiB of them, in chunks of equal size.
int64_t head_chunk_rows(int64_t rows, int64_t vocab);
// Rows of the head that are packed at a time.
int64_t head_slice();
// loss_scale * sum of the rows' negative log-likelihoods; a scalar. Never holds more than a chunk of logits.
Tensor head_cross_entropy(const Tensor& hidden, const Tensor& weight, const std::vector<int32_t>& labels,
                          double loss_scale, double label_smoothing, Precision precision);

}  // namespace fathom::train
