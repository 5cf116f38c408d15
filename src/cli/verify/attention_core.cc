#include "cli/verify/attention_core.h"

#include <algorithm>

namespace fathom::cli::verify {

namespace {

using kernels::RowRange;

std::vector<RowRange> ranges_of(int64_t batch, int64_t length) {
  std::vector<RowRange> ranges;
  for (int64_t b = 0; b < batch; ++b) ranges.push_back({b * length, (b + 1) * length});
  return ranges;
}

}  // namespace

AttentionCore::AttentionCore(const AttentionShape& shape, Values q, Values k, Values v, Parallel& parallel)
    : shape_(shape), q_(std::move(q)), k_(std::move(k)), v_(std::move(v)), parallel_(parallel) {
  const int64_t rows = shape.batch * shape.queries;
  out_.resize(q_.size() * static_cast<size_t>(shape.stripes));
  lse_.resize(static_cast<size_t>(rows * shape.heads));
  std::vector<int32_t> sequence;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t end = shape.keys - shape.queries + r % shape.queries + 1;
    sequence.push_back(static_cast<int32_t>(r / shape.queries));
    key_begin_.push_back(
        static_cast<int32_t>(shape.window > 0 ? std::max<int64_t>(0, end - shape.window) : 0));
    key_end_.push_back(static_cast<int32_t>(end));
  }
  std::vector<std::vector<const void*>> tables;
  for (int64_t b = 0; b < shape.batch; ++b) {
    for (const Values* array : {&k_, &v_}) {
      tables.emplace_back();
      for (int64_t t = 0; t < shape.keys; t += kernels::kKeyBlock)
        tables.back().push_back(array->data() + (b * shape.keys + t) * shape.kv_heads * shape.head_dim);
    }
  }
  std::vector<kernels::KeyList> lists;
  for (size_t b = 0; 2 * b < tables.size(); ++b)
    lists.push_back({tables[2 * b].data(), tables[2 * b + 1].data()});
  const kernels::AttentionExtents extents = {rows, shape.heads, shape.head_dim, shape.stripes, shape.keys};
  const int threads = parallel.num_threads();
  workspace_.resize(static_cast<size_t>(std::max(kernels::attention_fwd_workspace(extents, threads),
                                                 kernels::attention_bwd_workspace(extents, threads))));
  kernels::attention_fwd_cpu({.q = q_.data(),
                              .row_sequence = sequence.data(),
                              .key_begin = key_begin_.data(),
                              .key_end = key_end_.data(),
                              .sequences = lists.data(),
                              .out = out_.data(),
                              .lse = lse_.data(),
                              .rows = rows,
                              .heads = shape.heads,
                              .kv_heads = shape.kv_heads,
                              .head_dim = shape.head_dim,
                              .stripes = shape.stripes,
                              .scale = shape.scale,
                              .workspace = workspace_.data()},
                             parallel);
}

AttentionCore::Gradients AttentionCore::backward(const Values& grad_out) {
  Gradients grad{Values(q_.size()), Values(k_.size()), Values(v_.size())};
  const std::vector<RowRange> queries = ranges_of(shape_.batch, shape_.queries),
                              keys = ranges_of(shape_.batch, shape_.keys);
  kernels::attention_bwd_cpu({.q = q_.data(),
                              .k = k_.data(),
                              .v = v_.data(),
                              .out = out_.data(),
                              .lse = lse_.data(),
                              .grad_out = grad_out.data(),
                              .key_begin = key_begin_.data(),
                              .key_end = key_end_.data(),
                              .query_rows = queries.data(),
                              .key_rows = keys.data(),
                              .num_sequences = shape_.batch,
                              .grad_q = grad.q.data(),
                              .grad_k = grad.k.data(),
                              .grad_v = grad.v.data(),
                              .heads = shape_.heads,
                              .kv_heads = shape_.kv_heads,
                              .head_dim = shape_.head_dim,
                              .stripes = shape_.stripes,
                              .scale = shape_.scale,
                              .workspace = workspace_.data()},
                             parallel_);
  return grad;
}

}  // namespace fathom::cli::verify
