#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/extents.h"
#include "kernels/attention/attention_levels.h"

namespace fathom::kernels {

namespace {

// Calls of so few rows share out the splits of a row; larger ones share out rows.
constexpr int64_t kFewRows = 8;

// Splits that a range of n keys can touch.
int64_t max_splits(int64_t keys) { return ceil_div(keys, kKeySplit) + 1; }

// Floats of one worker: two accumulators and a block of scores.
int64_t worker_floats(int64_t head_dim) { return 2 * round_up(head_dim, 16) + kKeyBlock; }

// Where split number `s` (from the one that holds `begin`) starts and ends within [begin, end).
int64_t split_begin(int64_t begin, int64_t s) { return s == 0 ? begin : (begin / kKeySplit + s) * kKeySplit; }
int64_t split_end(int64_t begin, int64_t end, int64_t s) {
  return std::min(end, (begin / kKeySplit + s + 1) * kKeySplit);
}
int64_t num_splits(int64_t begin, int64_t end) {
  return end > begin ? ceil_div(end, kKeySplit) - begin / kKeySplit : 0;
}

void write_out(const AttentionFwd& args, int64_t row, int64_t head, SoftmaxPart part, const float* acc) {
  const int64_t at = row * args.heads + head;
  float* out = args.out + at * args.head_dim;
  if (part.total == 0.0F) {
    std::memset(out, 0, static_cast<size_t>(args.head_dim) * sizeof(float));
  } else {
    FATHOM_SIMD_SELECT(attention_finish)(part, acc, out, args.head_dim);
  }
  if (args.lse != nullptr) args.lse[at] = part.max + std::log(part.total);
}

constexpr SoftmaxPart kNoKeys = {-std::numeric_limits<float>::infinity(), 0.0F};

}  // namespace

int64_t attention_fwd_workspace(int64_t rows, int64_t heads, int64_t head_dim, int64_t max_keys,
                                int threads) {
  const int64_t parts = std::min(rows, kFewRows) * heads * max_splits(max_keys);
  return (parts * (2 + round_up(head_dim, 16)) + threads * worker_floats(head_dim)) *
         static_cast<int64_t>(sizeof(float));
}

void attention_fwd_cpu(const AttentionFwd& args, Parallel& parallel) {
  FATHOM_CHECK(args.kv_heads > 0 && args.heads % args.kv_heads == 0,
               "query heads are a multiple of KV heads");
  const auto part_fn = FATHOM_SIMD_SELECT(attention_part);
  const auto merge_fn = FATHOM_SIMD_SELECT(attention_merge);
  const int64_t padded = round_up(args.head_dim, 16), group = args.heads / args.kv_heads;
  auto* const workspace = static_cast<float*>(args.workspace);
  const auto worker_scratch = [&](int worker) { return workspace + worker * worker_floats(args.head_dim); };

  int64_t most_splits = 0;
  for (int64_t r = 0; r < args.rows; ++r) {
    most_splits = std::max(most_splits, num_splits(args.key_begin[r], args.key_end[r]));
  }
  if (args.rows <= kFewRows && most_splits > 1) {
    // Every (row, head, split) by itself, then the parts of a row merged in order.
    float* const parts = worker_scratch(parallel.num_threads());
    const int64_t part_floats = 2 + padded;
    const auto part_at = [&](int64_t row, int64_t head, int64_t s) {
      return parts + ((row * args.heads + head) * most_splits + s) * part_floats;
    };
    parallel.run(args.rows * most_splits * args.kv_heads, 1, [&](int64_t first, int64_t last, int worker) {
      float* const scratch = worker_scratch(worker);
      for (int64_t task = first; task < last; ++task) {
        const int64_t row = task / (most_splits * args.kv_heads);
        const int64_t s = task / args.kv_heads % most_splits, kv_head = task % args.kv_heads;
        const int64_t begin = args.key_begin[row], end = args.key_end[row];
        if (s >= num_splits(begin, end)) continue;
        for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
          float* const part = part_at(row, head, s);
          const SoftmaxPart found = part_fn(args, row, head, split_begin(begin, s), split_end(begin, end, s),
                                            part + 2, scratch + 2 * padded);
          part[0] = found.max;
          part[1] = found.total;
        }
      }
    });
    parallel.run(args.rows * args.heads, 1, [&](int64_t first, int64_t last, int) {
      for (int64_t task = first; task < last; ++task) {
        const int64_t row = task / args.heads, head = task % args.heads;
        const int64_t splits = num_splits(args.key_begin[row], args.key_end[row]);
        float* const total = part_at(row, head, 0);
        SoftmaxPart merged = splits > 0 ? SoftmaxPart{total[0], total[1]} : kNoKeys;
        for (int64_t s = 1; s < splits; ++s) {
          const float* const part = part_at(row, head, s);
          merged = merge_fn(merged, total + 2, {part[0], part[1]}, part + 2, args.head_dim);
        }
        write_out(args, row, head, merged, total + 2);
      }
    });
    return;
  }
  // Neighbouring rows of one KV head go to one worker: they read the same keys.
  parallel.run(args.kv_heads * args.rows, 4, [&](int64_t first, int64_t last, int worker) {
    float* const total = worker_scratch(worker);
    float* const more = total + padded;
    float* const scores = more + padded;
    for (int64_t task = first; task < last; ++task) {
      const int64_t row = task % args.rows, kv_head = task / args.rows;
      const int64_t begin = args.key_begin[row], end = args.key_end[row];
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        SoftmaxPart merged = kNoKeys;
        for (int64_t s = 0; s < num_splits(begin, end); ++s) {
          const SoftmaxPart part = part_fn(args, row, head, split_begin(begin, s), split_end(begin, end, s),
                                           s == 0 ? total : more, scores);
          merged = s == 0 ? part : merge_fn(merged, total, part, more, args.head_dim);
        }
        write_out(args, row, head, merged, total);
      }
    }
  });
}

int64_t attention_bwd_workspace(int64_t /*rows*/, int64_t /*heads*/, int64_t /*head_dim*/,
                                int64_t /*max_keys*/, int threads) {
  return threads * 2 * kKeyBlock * static_cast<int64_t>(sizeof(float));
}

void attention_bwd_cpu(const AttentionBwd& args, Parallel& parallel) {
  FATHOM_CHECK(args.kv_heads > 0 && args.heads % args.kv_heads == 0,
               "query heads are a multiple of KV heads");
  const auto head_fn = FATHOM_SIMD_SELECT(attention_bwd_head);
  parallel.run(args.num_sequences * args.kv_heads, 1, [&](int64_t first, int64_t last, int worker) {
    for (int64_t task = first; task < last; ++task) {
      head_fn(args, task / args.kv_heads, task % args.kv_heads,
              static_cast<float*>(args.workspace) + worker * 2 * kKeyBlock);
    }
  });
}

}  // namespace fathom::kernels
