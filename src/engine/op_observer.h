// Watches the executor run its kernels, for profiles. Without an observer a kernel costs one comparison more.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/parallel.h"

namespace fathom {

// What the executor does, by the folders of src/kernels, products of the head apart from those of the layers.
enum class EngineOp : uint8_t {
  kEmbedding,
  kNorm,
  kLinear,
  kRope,
  kKvAppend,
  kAttention,
  kCausalConv1d,
  kSelectiveScan,
  kSsdScan,
  kGatedDelta,
  kGatedMemory,
  kSwiglu,
  kGatherRows,
  kRouter,
  kScatterAddRows,
  kScaleColumns,
  kRound,
  kHead
};
constexpr std::array<std::string_view, 18> kEngineOpNames = {
    "embedding",     "norm",           "linear",           "rope",          "kv append",    "attention",
    "causal_conv1d", "selective_scan", "ssd_scan",         "gated_delta",   "gated_memory", "swiglu",
    "gather_rows",   "router",         "scatter_add_rows", "scale_columns", "round_bf16",   "head"};
constexpr size_t kEngineOps = kEngineOpNames.size();
constexpr std::string_view name_of(EngineOp op) { return kEngineOpNames[static_cast<size_t>(op)]; }

// Called on the thread that called the executor, begin and end in pairs, never nested.
class OpObserver {
 public:
  virtual ~OpObserver() = default;
  virtual void begin(EngineOp op) = 0;
  virtual void end(EngineOp op) = 0;
};

// One kernel's run: handed to the kernel as its Parallel, it lives exactly as long as the call,
// kernels::rope_fwd_cpu({...}, OpScope(observer, EngineOp::kRope, parallel)).
class OpScope {
 public:
  OpScope(OpObserver* observer, EngineOp op, Parallel& parallel)
      : observer_(observer), op_(op), parallel_(parallel) {
    if (observer_ != nullptr) observer_->begin(op_);
  }
  ~OpScope() {
    if (observer_ != nullptr) observer_->end(op_);
  }
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;
  operator Parallel&() const { return parallel_; }  // NOLINT(google-explicit-constructor)

 private:
  OpObserver* const observer_;
  const EngineOp op_;
  Parallel& parallel_;
};

}  // namespace fathom
