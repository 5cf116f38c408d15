// The figures behind describe(): gathered once, written as text or JSON.
#pragma once

#include <string>
#include <vector>

#include "plan/count.h"

namespace fathom {

struct LayerFigures {
  int32_t index = 0;
  int32_t repeat = 1;
  bool routed = false;
  std::string kind;        // "attention", "cross-attention", "mamba", "gated memory"
  std::string relaxation;  // "lora 4: q_proj v_proj", "prompt 16", "encoding"; empty without
  int64_t window = 0;
  std::string writes, reads;  // names of slots, comma between
  int64_t parameters = 0;     // of one depth
  double flops = 0;           // per token, all depths
  StateBytes state;
};

struct PlanFigures {
  std::vector<LayerFigures> layers;
  ParameterCount parameters;
  FlopCount flops;
  StateBytes state;
  std::optional<double> paper_flops;  // attention-only plans
  std::optional<int32_t> shortcut;    // prefill_shortcut_layer()
  double shortcut_flops = 0;          // per prompt token that stops there
};

PlanFigures figures_of(const ModelPlan& plan, int64_t context, DType kv_type);

}  // namespace fathom
