#include "cli/inspect_depths.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/file.h"
#include "base/parallel.h"
#include "cli/depth_page.h"
#include "cli/loaded_model.h"
#include "cli/output_folder.h"
#include "cli/run_memory.h"
#include "cli/threads_flag.h"
#include "engine/executor.h"
#include "plan/token_flops.h"

namespace fathom::cli {

namespace {

constexpr int64_t kChunk = 256;  // rows of a call of the causal rule

// Watches how far from its threshold the last decision about each token was.
class Margins {
 public:
  Margins(const ModelPlan& plan, size_t tokens) : margins_(tokens) {
    for (const Segment& segment : plan.segments) {
      if (segment.router) router_ = &*segment.router;
    }
  }

  // Of the call whose first row is token `begin`. Expert choice alone has thresholds.
  void begin_call(size_t begin) { begin_ = begin; }
  void watch(std::string_view name, const float* data, int64_t rows) {
    const char* const deciding = router_->aux_weight.present() ? ".aux_logits" : ".logits";
    for (size_t depth = 1; depth < router_->spec.threshold.size(); ++depth) {
      const std::string pass = "router." + std::to_string(depth);
      if (name == pass + deciding) logits_.assign(data, data + rows);
      if (name != pass + ".candidates") continue;
      for (size_t i = 0; i < logits_.size(); ++i) {
        margins_[begin_ + static_cast<size_t>(data[i])] =
            logits_[i] - static_cast<float>(router_->spec.threshold[depth]);
      }
    }
  }
  std::optional<float> of(size_t token) const { return margins_[token]; }

 private:
  const Router* router_ = nullptr;
  size_t begin_ = 0;
  std::vector<float> logits_;
  std::vector<std::optional<float>> margins_;
};

}  // namespace

Status inspect_depths(const DepthsRequest& request) {
  FATHOM_TRY(check_output_folder(request.out));
  FATHOM_ASSIGN(const LoadedModel model, load_model(request.model, MatrixChoice{}));
  if (!is_routed(model.plan)) return invalid("--depths: this model has no routed recursion");
  const std::vector<int32_t> ids = model.codec.encode(request.text);
  if (ids.empty()) return invalid("--depths: the text holds no token");
  const auto count = static_cast<int64_t>(ids.size());
  if (count > model.plan.dims.max_positions) {
    return invalid("--depths: the text has " + std::to_string(count) + " tokens, the model's context is " +
                   std::to_string(model.plan.dims.max_positions));
  }

  ThreadPool pool(threads_or_all(request.threads));
  const int64_t rows = request.top_k ? count : std::min(kChunk, count);
  FATHOM_TRY(check_run_memory(model.path, model.plan, count, rows, DType::kF32));
  Executor executor(model.plan, *model.weights, rows, count, pool);
  SequenceState state = executor.make_state(DType::kF32);
  ForwardOptions options;
  options.routing = request.top_k ? RoutingMode::kTopK : RoutingMode::kThreshold;
  Margins margins(model.plan, ids.size());
  if (!request.top_k) {
    executor.set_trace([&](std::string_view name, const float* data, int64_t traced, int64_t) {
      margins.watch(name, data, traced);
    });
  }

  DepthPage page;
  page.model = model.path;
  page.routing = request.top_k ? "topk (as published)" : "threshold (causal)";
  page.most_passes = most_passes(model.plan);
  TextCodec::Stream pieces(model.codec);
  TokenFlops cost(model.plan);
  double flops = 0, full = 0;
  for (size_t begin = 0; begin < ids.size();) {
    const size_t size = std::min(static_cast<size_t>(rows), ids.size() - begin);
    margins.begin_call(begin);
    const ForwardResult result = executor.forward(state, std::span(ids).subspan(begin, size), options);
    for (size_t i = 0; i < size; ++i) {
      flops += cost.next(result.depths[i]);
      full += cost.full();
      page.tokens.push_back(
          {pieces.push(ids[begin + i]), result.depths[i], result.scores[i], margins.of(begin + i)});
    }
    begin += size;
  }
  page.tokens.back().text += pieces.finish();
  page.flops_share = flops / full;
  return write_file_atomic(request.out, draw_depth_page(page));
}

}  // namespace fathom::cli
