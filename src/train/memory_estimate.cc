#include "train/memory_estimate.h"

#include <algorithm>

#include "kernels/selective_scan/selective_scan.h"
#include "plan/count.h"
#include "train/ops.h"

namespace fathom::train {

namespace {

// The program and LibTorch's libraries, with what they allocate for themselves.
constexpr int64_t kProgramBytes = int64_t{150} << 20;
// The heap holds more than is in use at any time, since what comes rarely fits the holes of what went:
// 12 and 13 % in two 135M models.
constexpr double kHeap = 1.1;

// Bytes that `floats` values take which only a product reads again.
int64_t product_input(int64_t floats, bool bf16) { return (bf16 ? 2 : 4) * floats; }

// What a row leaves behind in a mixer: see the ops' Backward functions for who keeps what.
struct MixerBytes {
  bool bf16;

  int64_t operator()(const Attention& a) const {
    const int64_t q = a.num_heads * a.head_dim, kv = a.cross ? 0 : a.num_kv_heads * a.head_dim;
    // q, k, v and the output, which attention keeps; in bfloat16 the output projection keeps its own form.
    return 4 * (2 * q + 2 * kv + a.num_heads) + (bf16 ? 2 * q : 0);
  }
  int64_t operator()(const Mamba& m) const {
    const int64_t floats = 5 * m.inner + m.dt_rank + 2 * m.state + m.inner * m.state / kernels::kScanChunk;
    return 4 * floats + (bf16 ? 2 * (m.inner + m.dt_rank) : 0) + product_input(m.inner, bf16);
  }
  int64_t operator()(const GatedMemory& g) const { return 4 * g.inner + product_input(g.inner, bf16); }
};

int64_t layer_bytes(const ModelPlan& plan, const Layer& layer, bool bf16) {
  // Both norms keep what they read, the products behind them what the norms wrote.
  const int64_t hidden = plan.dims.hidden_size;
  return 2 * 4 * hidden + 2 * product_input(hidden, bf16) + std::visit(MixerBytes{bf16}, layer.mixer) +
         8 * layer.mlp.inner + product_input(layer.mlp.inner, bf16);
}

// What a layer leaves for those after it, beside its rows: slots that others read.
int64_t passed_on_bytes(const ModelPlan& plan, const Layer& layer) {
  int64_t floats = 0;
  for (SlotId id : layer.writes) {
    const bool read = std::ranges::any_of(plan.segments, [&](const Segment& segment) {
      return std::ranges::any_of(segment.layers, [&](const Layer& other) {
        return std::ranges::find(other.reads, id) != other.reads.end();
      });
    });
    const Slot& slot = plan.slots[static_cast<size_t>(id)];
    if (read)
      floats += slot.kind == SlotKind::kGmuMemory ? slot.inner : 2 * slot.num_kv_heads * slot.head_dim;
  }
  return 4 * floats;
}

}  // namespace

MemoryShape memory_shape_of(const RunConfig& config) {
  return {.rows = config.train.rows * config.data.sequence_length,
          .accumulation = config.train.accumulation,
          .bf16 = config.train.precision == Precision::kBF16,
          .gradient_checkpointing = config.train.gradient_checkpointing};
}

int64_t activation_bytes(const ModelPlan& plan, const MemoryShape& shape) {
  const int64_t hidden = plan.dims.hidden_size;
  double per_row =
      4.0 * 3 * static_cast<double>(hidden);  // embedding, final norm, gradient of the head's input
  double largest = 0;
  for_each_unrolled_layer(plan, [&](const Segment& segment, const Layer& layer, int32_t depth) {
    const double share = segment.router ? segment.router->spec.capacity[static_cast<size_t>(depth)] : 1.0;
    const double all = share * static_cast<double>(layer_bytes(plan, layer, shape.bf16));
    largest = std::max(largest, all);
    per_row += shape.gradient_checkpointing
                   ? share * static_cast<double>(4 * hidden + passed_on_bytes(plan, layer))
                   : all;
  });
  if (shape.gradient_checkpointing) per_row += largest;  // of the layer that backward runs again
  for (const Segment& segment : plan.segments) {
    if (!segment.router) continue;
    // A pass keeps the rows that it chose from and those that it chose, and writes all rows anew.
    for (double capacity : segment.router->spec.capacity)
      per_row += (1.0 + 2.0 * capacity) * 4.0 * static_cast<double>(hidden);
  }
  return static_cast<int64_t>(per_row * static_cast<double>(shape.rows));
}

int64_t training_bytes(const ModelPlan& plan, const MemoryShape& shape) {
  const int64_t parameters = count_parameters(plan).unique;
  const int64_t head = plan.dims.vocab_size * plan.dims.hidden_size;
  const int64_t activations = activation_bytes(plan, shape);
  const int64_t logits = head_chunk_rows(shape.rows, plan.dims.vocab_size) * plan.dims.vocab_size * 4;
  // Gradients come while activations go. At the end of forward only the head's is there, and with several
  // micro-batches those of the ones before; at the end of backward all are.
  const int64_t forward = (shape.accumulation > 1 ? 16 : 12) * parameters + activations + 4 * head + logits;
  const int64_t most = std::max(forward, 16 * parameters + logits);
  return kProgramBytes + static_cast<int64_t>(kHeap * static_cast<double>(most));
}

}  // namespace fathom::train
