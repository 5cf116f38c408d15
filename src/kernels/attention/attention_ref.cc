#include <cmath>
#include <limits>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "kernels/attention/attention.h"

namespace fathom::kernels {

namespace {

double element(const void* block, DType type, int64_t index) {
  return type == DType::kF32 ? static_cast<const float*>(block)[index]
                             : to_float(static_cast<const BFloat16*>(block)[index]);
}

// The head whose keys query head h takes, and the first of those whose values.
struct KvHeads {
  int64_t key, value;
};
template <class Args>
KvHeads kv_heads_of(const Args& args, int64_t h) {
  const int64_t units = args.kv_heads / args.stripes, unit = h / (args.heads / units);
  return {unit * args.stripes + h % args.stripes, unit * args.stripes};
}

// What dropout multiplies the probability of key j with, for query (row, head) number `query`.
double kept(const AttentionDropout& dropout, int64_t query, int64_t j) {
  if (dropout.share == 0) return 1;
  const auto position = (static_cast<uint64_t>(query) << 29) + static_cast<uint64_t>(j) / 4;
  const uint32_t word = philox(dropout.seed, dropout.stream, position)[static_cast<size_t>(j % 4)];
  return word >= double{dropout.share} * 0x1p32 ? 1 / (1 - double{dropout.share}) : 0;
}

}  // namespace

void attention_fwd_ref(const AttentionFwd& args) {
  const int64_t dim = args.head_dim, value_dim = args.stripes * dim;
  const KeyPlaces k_at = key_places(args.kv_layout, args.kv_type, args.kv_heads, dim),
                  v_at = value_places(args.kv_layout, args.kv_heads, dim);
  std::vector<double> p;
  for (int64_t r = 0; r < args.rows; ++r) {
    const KeyList& keys = args.sequences[args.row_sequence != nullptr ? args.row_sequence[r] : 0];
    const int64_t begin = args.key_begin[r], end = args.key_end[r];
    for (int64_t h = 0; h < args.heads; ++h) {
      const float* q = args.q + (r * args.heads + h) * dim;
      float* out = args.out + (r * args.heads + h) * value_dim;
      const KvHeads of = kv_heads_of(args, h);
      double largest = -std::numeric_limits<double>::infinity(), total = 0;
      p.assign(static_cast<size_t>(end > begin ? end - begin : 0), 0.0);
      for (int64_t j = begin; j < end; ++j) {
        double logit = 0;
        for (int64_t d = 0; d < dim; ++d)
          logit +=
              q[d] * element(keys.k_blocks[j / kKeyBlock], args.kv_type, k_at.at(of.key, d, j % kKeyBlock));
        p[static_cast<size_t>(j - begin)] = logit * args.scale;
        largest = std::max(largest, logit * args.scale);
      }
      for (double& value : p) total += value = std::exp(value - largest);
      for (int64_t j = begin; j < end; ++j)
        p[static_cast<size_t>(j - begin)] *= kept(args.dropout, r * args.heads + h, j);
      for (int64_t d = 0; d < value_dim; ++d) {
        double value = 0;
        for (int64_t j = begin; j < end; ++j) {
          value += p[static_cast<size_t>(j - begin)] *
                   element(keys.v_blocks[j / kKeyBlock], args.kv_type,
                           v_at.at(of.value + d / dim, d % dim, j % kKeyBlock));
        }
        out[d] = begin < end ? static_cast<float>(value / total) : 0.0F;
      }
      if (args.lse != nullptr) args.lse[r * args.heads + h] = static_cast<float>(largest + std::log(total));
    }
  }
}

void attention_bwd_ref(const AttentionBwd& args) {
  const int64_t dim = args.head_dim, value_dim = args.stripes * dim;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    const RowRange queries = args.query_rows[s], keys = args.key_rows[s];
    std::vector<double> grad_k(static_cast<size_t>(keys.size() * args.kv_heads * dim)), grad_v(grad_k.size());
    for (int64_t r = queries.begin; r < queries.end; ++r) {
      for (int64_t h = 0; h < args.heads; ++h) {
        const int64_t row = (r * args.heads + h) * dim, value_row = (r * args.heads + h) * value_dim;
        const KvHeads of = kv_heads_of(args, h);
        const double lse = args.lse[r * args.heads + h];
        double delta = 0;
        for (int64_t d = 0; d < value_dim; ++d)
          delta += double{args.out[value_row + d]} * args.grad_out[value_row + d];
        std::vector<double> grad_q(static_cast<size_t>(dim));
        for (int64_t j = args.key_begin[r]; j < args.key_end[r]; ++j) {
          const int64_t key = (j * args.kv_heads + of.key) * dim,
                        value = (j * args.kv_heads + of.value) * dim;
          const float* k = args.k + keys.begin * args.kv_heads * dim + key;
          const float* v = args.v + keys.begin * args.kv_heads * dim + value;
          double logit = 0, grad_p = 0;
          for (int64_t d = 0; d < dim; ++d) logit += double{args.q[row + d]} * k[d];
          for (int64_t d = 0; d < value_dim; ++d) grad_p += double{args.grad_out[value_row + d]} * v[d];
          const double p = std::exp(logit * args.scale - lse);
          const double keep = kept(args.dropout, r * args.heads + h, j);
          const double grad_logit = p * (keep * grad_p - delta) * args.scale;
          for (int64_t d = 0; d < dim; ++d) {
            grad_q[static_cast<size_t>(d)] += grad_logit * k[d];
            grad_k[static_cast<size_t>(key + d)] += grad_logit * args.q[row + d];
          }
          for (int64_t d = 0; d < value_dim; ++d)
            grad_v[static_cast<size_t>(value + d)] += keep * p * args.grad_out[value_row + d];
        }
        for (int64_t d = 0; d < dim; ++d)
          args.grad_q[row + d] = static_cast<float>(grad_q[static_cast<size_t>(d)]);
      }
    }
    for (size_t i = 0; i < grad_k.size(); ++i) {
      const auto at = static_cast<int64_t>(i) + keys.begin * args.kv_heads * dim;
      args.grad_k[at] = static_cast<float>(grad_k[i]);
      args.grad_v[at] = static_cast<float>(grad_v[i]);
    }
  }
}

}  // namespace fathom::kernels
