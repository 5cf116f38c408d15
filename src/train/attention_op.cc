#include <ATen/ops/empty.h>

#include "kernels/attention/attention.h"
#include "train/differentiable.h"
#include "train/op_profile.h"
#include "train/ops.h"
#include "train/torch_parallel.h"

namespace fathom::train {

namespace {

// Block addresses of contiguous keys and values, sequence by sequence.
struct BlockTables {
  BlockTables(const Tensor& k, const Tensor& v, const std::vector<RowRange>& key_rows) {
    const int64_t entry = k.size(1);
    size_t total = 0;
    for (const RowRange& rows : key_rows) total += static_cast<size_t>(rows.size() / kernels::kKeyBlock + 1);
    addresses.reserve(2 * total);
    for (const RowRange& rows : key_rows) {
      const void* const* tables[2];
      for (int which = 0; which < 2; ++which) {
        const float* base = (which == 0 ? k : v).const_data_ptr<float>() + rows.begin * entry;
        tables[which] = addresses.data() + addresses.size();
        for (int64_t at = 0; at < rows.size(); at += kernels::kKeyBlock)
          addresses.push_back(base + at * entry);
      }
      lists.push_back({tables[0], tables[1]});
    }
  }
  std::vector<const void*> addresses;
  std::vector<kernels::KeyList> lists;
};

int64_t most_keys(const AttentionRows& rows) {
  int64_t most = 0;
  for (const RowRange& range : rows.key_rows) most = std::max(most, range.size());
  return most;
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const std::shared_ptr<const AttentionRows>& rows, AttentionShape shape,
                 Precision precision) {
  const OpTimer timer("attention", OpPass::kForward);
  const int64_t count = q.size(0);
  const int threads = torch_parallel().num_threads();
  const kernels::AttentionExtents extents = {count, shape.heads, shape.head_dim, shape.stripes,
                                             most_keys(*rows)};
  Tensor out = at::empty({count, shape.stripes * q.size(1)}, at::kFloat),
         lse = at::empty({count, shape.heads}, at::kFloat);
  {
    const BlockTables tables(k, v, rows->key_rows);
    const Tensor workspace = at::empty({kernels::attention_fwd_workspace(extents, threads)}, at::kByte);
    kernels::attention_fwd_cpu({.q = q.const_data_ptr<float>(),
                                .row_sequence = rows->sequence.data(),
                                .key_begin = rows->key_begin.data(),
                                .key_end = rows->key_end.data(),
                                .sequences = tables.lists.data(),
                                .out = out.mutable_data_ptr<float>(),
                                .lse = lse.mutable_data_ptr<float>(),
                                .rows = count,
                                .heads = shape.heads,
                                .kv_heads = shape.kv_heads,
                                .head_dim = shape.head_dim,
                                .stripes = shape.stripes,
                                .scale = static_cast<float>(shape.scale),
                                .dropout = shape.dropout,
                                .workspace = workspace.mutable_data_ptr<uint8_t>()},
                               torch_parallel());
  }
  std::vector<Tensor> outputs = {out};
  const Tensor result = out.detach();
  record("attention", outputs, {q, k, v}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    Tensor grad_q = at::empty(q.sizes(), at::kFloat), grad_k = at::empty(k.sizes(), at::kFloat),
           grad_v = at::empty(v.sizes(), at::kFloat);
    const Tensor workspace = at::empty({kernels::attention_bwd_workspace(extents, threads)}, at::kByte);
    // Rows that no sequence covers as keys get no gradient.
    grad_k.zero_();
    grad_v.zero_();
    kernels::attention_bwd_cpu({.q = q.const_data_ptr<float>(),
                                .k = k.const_data_ptr<float>(),
                                .v = v.const_data_ptr<float>(),
                                .out = result.const_data_ptr<float>(),
                                .lse = lse.const_data_ptr<float>(),
                                .grad_out = grads[0].const_data_ptr<float>(),
                                .key_begin = rows->key_begin.data(),
                                .key_end = rows->key_end.data(),
                                .query_rows = rows->query_rows.data(),
                                .key_rows = rows->key_rows.data(),
                                .num_sequences = static_cast<int64_t>(rows->query_rows.size()),
                                .grad_q = grad_q.mutable_data_ptr<float>(),
                                .grad_k = grad_k.mutable_data_ptr<float>(),
                                .grad_v = grad_v.mutable_data_ptr<float>(),
                                .heads = shape.heads,
                                .kv_heads = shape.kv_heads,
                                .head_dim = shape.head_dim,
                                .stripes = shape.stripes,
                                .scale = static_cast<float>(shape.scale),
                                .dropout = shape.dropout,
                                .bf16 = precision == Precision::kBF16,
                                .workspace = workspace.mutable_data_ptr<uint8_t>()},
                               torch_parallel());
    return {grad_q, grad_k, grad_v};
  });
  return outputs.front();
}

}  // namespace fathom::train
