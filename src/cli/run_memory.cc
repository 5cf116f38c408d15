#include "cli/run_memory.h"

#include <algorithm>

#include "base/extents.h"
#include "kernels/attention/key_block.h"
#include "kernels/linear/linear.h"
#include "plan/count.h"
#include "state/sequence_state.h"

namespace fathom::cli {

namespace {

// Of the rotary tables, as if there were one, and of the addresses of the blocks of keys.
int64_t table_bytes(const ModelPlan& plan, int64_t context) {
  int64_t dim = 0, caches = 0;
  for (const Segment& segment : plan.segments) {
    for (const Layer& layer : segment.layers) {
      const auto* attention = std::get_if<Attention>(&layer.mixer);
      if (attention != nullptr && attention->rope) dim = std::max(dim, attention->head_dim);
    }
  }
  for (const Slot& slot : plan.slots) caches += slot.num_kv_heads > 0 ? slot.copies : 0;
  return context * dim * size_of(DType::kF32) +
         caches * ceil_div(context, kernels::kKeyBlock) * int64_t{2 * sizeof(void*)};
}

// Of a row: its logits, the residual stream, what a layer makes of it on the way, which are about as many
// numbers as the layer has parameters for each of the residual stream, and the forms that it has in products
// of the layers and the head.
int64_t row_bytes(const ModelPlan& plan) {
  int64_t most = 0;
  for (const Segment& segment : plan.segments) {
    for (const Layer& layer : segment.layers) most = std::max(most, count_layer_parameters(plan, layer));
  }
  const int64_t hidden = plan.dims.hidden_size;
  return (plan.dims.vocab_size + 3 * hidden + most / hidden) * size_of(DType::kF32) +
         2 * kernels::linear_fwd_workspace(1, hidden);
}

}  // namespace

int64_t run_bytes(const ModelPlan& plan, int64_t context, int64_t rows, DType kv_type) {
  const RunShape shape{.context = context, .rows = rows};
  return run_bytes(plan, {&shape, 1}, kv_type);
}

int64_t run_bytes(const ModelPlan& plan, std::span<const RunShape> shapes, DType kv_type) {
  int64_t bytes = 0;
  for (const RunShape& shape : shapes)
    bytes += shape.states * state_bytes(plan, shape.context, shape.rows, kv_type) +
             table_bytes(plan, shape.context) + shape.rows * row_bytes(plan);
  return bytes;
}

Status check_run_memory(const std::string& model, const ModelPlan& plan, int64_t context, int64_t rows,
                        DType kv_type, std::optional<int64_t> available) {
  const RunShape shape{.context = context, .rows = rows};
  return check_run_memory(model, plan, {&shape, 1}, kv_type, "--context or --chunk", available);
}

Status check_run_memory(const std::string& model, const ModelPlan& plan, std::span<const RunShape> shapes,
                        DType kv_type, const std::string& flags, std::optional<int64_t> available) {
  const int64_t bytes = run_bytes(plan, shapes, kv_type);
  if (!available || bytes <= *available) return {};
  RunShape most;
  for (const RunShape& shape : shapes) {
    most.context = std::max(most.context, shape.context);
    most.rows = std::max(most.rows, shape.rows);
  }
  return invalid(model + ": a context of " + std::to_string(most.context) + " tokens, in calls of up to " +
                 std::to_string(most.rows) + " rows, needs about " + std::to_string(bytes >> 20) +
                 " MiB beside the weights, but " + std::to_string(*available >> 20) +
                 " MiB are free; use a smaller " + flags);
}

Result<int64_t> state_budget(const ModelPlan& plan, int64_t context, int64_t rows, DType kv_type,
                             uint64_t asked, std::optional<int64_t> available) {
  const int64_t scratch = run_bytes(plan, context, rows, kv_type) - state_bytes(plan, context, rows, kv_type);
  if (asked == 0) {
    constexpr double kShare = 0.8;
    constexpr int64_t kUnknown = int64_t{1} << 30;
    if (!available) return kUnknown;
    return std::max<int64_t>(0, static_cast<int64_t>(kShare * static_cast<double>(*available - scratch)));
  }
  const auto wanted = static_cast<int64_t>(std::min<uint64_t>(asked, INT64_MAX / 2));
  if (available && wanted + scratch > *available) {
    return invalid("--memory: " + std::to_string(wanted >> 20) + " MiB for states and " +
                   std::to_string(scratch >> 20) + " MiB beside them, but " +
                   std::to_string(*available >> 20) + " MiB are free");
  }
  return wanted;
}

}  // namespace fathom::cli
