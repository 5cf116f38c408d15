#include "train/memory_estimate.h"

#include <algorithm>

#include "kernels/gated_delta/gated_delta.h"
#include "kernels/selective_scan/selective_scan.h"
#include "kernels/ssd_scan/ssd_scan.h"
#include "plan/count.h"
#include "train/ops.h"

namespace fathom::train {

namespace {

// The program and LibTorch's libraries, with what they allocate for themselves.
constexpr int64_t kProgramBytes = int64_t{150} << 20;
// ArrayArena's gaps, measured; they may come to twice as much before it gives pages back.
constexpr double kArena = 1.03;

// Bytes that `floats` values take which only a product reads again.
int64_t product_input(int64_t floats, bool bf16) { return (bf16 ? 2 : 4) * floats; }

// What a row leaves behind in a mixer: see the ops' Backward functions for who keeps what.
struct MixerBytes {
  bool bf16;

  int64_t operator()(const Attention& a) const {
    const int64_t q = a.num_heads * a.head_dim, kv = a.cross ? 0 : a.num_kv_heads * a.head_dim;
    // q, k, v and the output, which attention keeps; in bfloat16 the output projection keeps its own form.
    const int64_t kept = 4 * (2 * q + 2 * kv + a.num_heads) + (bf16 ? 2 * q : 0);
    // The output of both maps, kept for their difference as well, and that, which the projection reads.
    return a.differential ? kept + 4 * (q + a.num_heads / 2) + (bf16 ? 0 : 4 * q) : kept;
  }
  int64_t operator()(const Mamba& m) const {
    const int64_t floats = 5 * m.inner + m.dt_rank + 2 * m.state + m.inner * m.state / kernels::kScanChunk;
    return 4 * floats + (bf16 ? 2 * (m.inner + m.dt_rank) : 0) + product_input(m.inner, bf16);
  }
  int64_t operator()(const Mamba2& m) const {
    const int64_t inner = m.inner();
    // Both sides of the convolution, z, y, dt and its rates; the norm's number; checkpoints.
    const int64_t floats =
        2 * m.channels() + 2 * inner + 3 * m.heads + 1 + inner * m.state / kernels::kSsdChunk;
    return 4 * floats + product_input(inner, bf16);
  }
  int64_t operator()(const GatedDelta& d) const {
    const int64_t values = d.values();
    const int64_t floats = 2 * (2 * d.keys() + values) + 2 * values + (2 + kernels::kDeltaTerms) * d.heads +
                           1 + d.keys() * d.value_dim / kernels::kDeltaChunk;
    return 4 * floats + product_input(values, bf16);
  }
  int64_t operator()(const GatedMemory& g) const {
    return 4 * (g.inner + (g.norm.present() ? 1 : 0)) + product_input(g.inner, bf16);
  }
};

// What relaxation makes a row leave behind beside it: what an adapter's two products read, and, of DoRA, what
// its scale reads; what the scale of a prompt reads, and its weights' sums.
int64_t relaxation_bytes(const ModelPlan& plan, const Layer& layer, bool bf16) {
  int64_t bytes = layer.encoding.present() ? 4 * plan.dims.hidden_size : 0;
  for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
    const std::vector<int64_t>& shape = plan.params[static_cast<size_t>(matrix.weight.first)].shape;
    if (matrix.adapter->dropout > 0) bytes += product_input(shape[1], bf16);
    bytes += product_input(matrix.adapter->rank, bf16);
    if (matrix.adapter->magnitude.present()) bytes += 4 * shape[0];
  }
  const auto* attention = std::get_if<Attention>(&layer.mixer);
  if (attention != nullptr && attention->prompt)
    bytes += 4 * (attention->num_heads * attention->head_dim + attention->num_heads);
  return bytes;
}

int64_t layer_bytes(const ModelPlan& plan, const Layer& layer, bool bf16) {
  // Both norms keep what they read, the products behind them what the norms wrote.
  const int64_t hidden = plan.dims.hidden_size;
  return 2 * 4 * hidden + 2 * product_input(hidden, bf16) + std::visit(MixerBytes{bf16}, layer.mixer) +
         8 * layer.mlp.inner + product_input(layer.mlp.inner, bf16) + relaxation_bytes(plan, layer, bf16);
}

// What backward of a layer holds at its most beside what forward kept: behind the MLP's product the gradients
// of gate and up, and of the residual.
int64_t layer_backward_bytes(const ModelPlan& plan, const Layer& layer) {
  return 4 * (2 * layer.mlp.inner + plan.dims.hidden_size);
}

// Of all rows: logits of a chunk, a slice of their gradients packed, the hidden rows packed.
int64_t head_bytes(const ModelPlan& plan, const MemoryShape& shape) {
  const int64_t vocab = plan.dims.vocab_size, chunk = head_chunk_rows(shape.rows, vocab);
  return chunk *
         (4 * vocab + product_input(std::min(vocab, head_slice()) + plan.dims.hidden_size, shape.bf16));
}

// Keys and values of a row, which attention keeps.
int64_t key_bytes(const Layer& layer) {
  const auto* attention = std::get_if<Attention>(&layer.mixer);
  return attention == nullptr ? 0 : 4 * 2 * attention->num_kv_heads * attention->head_dim;
}

// What MLP routers keep of a row, over all passes: their hidden layer before and after its activation.
double router_bytes(const ModelPlan& plan, const Segment& segment) {
  const Router& router = *segment.router;
  if (!router.hidden.present()) return 0;
  const auto one = static_cast<double>(2 * 4 * router.spec.mlp_ratio * plan.dims.hidden_size);
  const double networks = router.aux_hidden.present() ? 2 : 1;
  if (router.spec.kind == RouterKind::kTokenChoice) return networks * one;
  double asked = 1;  // rows that each pass chooses from
  for (int32_t depth = 1; depth < segment.repeat; ++depth)
    asked += router.spec.capacity[static_cast<size_t>(depth) - 1];
  return networks * one * asked;
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
  double most_backward = 0;                   // of one layer, which with checkpointing runs again first
  for_each_unrolled_layer(plan, [&](const Segment& segment, const Layer& layer, int32_t depth) {
    const double share = running_share(segment, depth);
    const KeySource source = key_source(segment, layer, depth);
    const bool reads_first = source == KeySource::kFirstDepth || source == KeySource::kMerged;
    const int64_t keys = key_bytes(layer);
    const int64_t kept = layer_bytes(plan, layer, shape.bf16) - (reads_first ? keys : 0);
    const int64_t backward = layer_backward_bytes(plan, layer);
    most_backward = std::max(
        most_backward,
        share * static_cast<double>(backward + (shape.gradient_checkpointing ? kept - 4 * hidden : 0)));
    per_row += share * static_cast<double>(
                           shape.gradient_checkpointing ? 4 * hidden + passed_on_bytes(plan, layer) : kept);
    // Merged keys are a list of all rows. Of those that later depths read a checkpoint keeps one.
    const bool read_later =
        source == KeySource::kOwn && segment.repeat > 1 && segment.kv != KvMode::kRecursionWise;
    if (shape.gradient_checkpointing ? read_later : source == KeySource::kMerged)
      per_row += static_cast<double>(keys);
  });
  for (const Segment& segment : plan.segments) {
    if (!segment.router) continue;
    // A pass writes all rows anew. Those that it chose from and those that it chose are copies, unless it is
    // all.
    for (double capacity : segment.router->spec.capacity)
      per_row += (1.0 + (capacity < 1 ? 2.0 * capacity : 0.0)) * 4.0 * static_cast<double>(hidden);
    per_row += router_bytes(plan, segment);
  }
  const auto rows = static_cast<double>(shape.rows);
  return static_cast<int64_t>(per_row * rows) +
         std::max(head_bytes(plan, shape), static_cast<int64_t>(most_backward * rows));
}

int64_t training_bytes(const ModelPlan& plan, const MemoryShape& shape) {
  const int64_t parameters = count_parameters(plan).unique;
  const int64_t head = plan.dims.vocab_size * plan.dims.hidden_size;
  // Gradients come while activations go. At the end of forward only the head's is there, and with several
  // micro-batches those of the ones before; at the end of backward all are.
  const int64_t forward =
      (shape.accumulation > 1 ? 16 : 12) * parameters + activation_bytes(plan, shape) + 4 * head;
  const int64_t most = std::max(forward, 16 * parameters);
  return kProgramBytes + static_cast<int64_t>(kArena * static_cast<double>(most));
}

}  // namespace fathom::train
