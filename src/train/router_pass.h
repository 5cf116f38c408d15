// A routed segment in training: scores, decisions, the router's losses, and what the passes make of the
// residual stream (Mixture-of-Recursions, sections 3 and 4). Gradients reach a router through the weights of
// the rows that it let pass and through its losses; decisions have none.
#pragma once

#include <functional>
#include <vector>

#include "plan/model_plan.h"
#include "train/executor.h"
#include "train/recompute.h"
#include "train/rows.h"

namespace fathom::train {

class RouterPass {
 public:
  // The segment's layers at a depth, over the given rows.
  using RunLayers = std::function<Tensor(const Segment&, int32_t depth, const Tensor& x, const Rows& rows)>;

  // All arguments outlive the object. Passes and losses are noted in `result`.
  RouterPass(const NotedParameters& parameters, const ForwardOptions& options, RunLayers run_layers,
             ForwardResult& result)
      : parameters_(parameters), options_(options), run_layers_(std::move(run_layers)), result_(result) {}

  // The residual stream after the segment, of all rows.
  Tensor run(const Segment& segment, const Tensor& hidden, const Rows& everything);

  // What the routers add to the loss, a scalar; undefined if nothing. `aux` is that of second routers, whose
  // gradient reaches them alone.
  const Tensor& loss() const { return loss_; }
  const Tensor& aux_loss() const { return aux_loss_; }

 private:
  // Rows before a pass of expert choice, as indices into the batch, and the same as row sets.
  struct Candidates {
    std::vector<int32_t> active;
    Rows rows;
  };

  Tensor run_expert_choice(const Segment& segment, Tensor hidden, const Rows& everything);
  Tensor run_token_choice(const Segment& segment, const Tensor& hidden, const Rows& everything);
  RouterScores scores_of(const Segment& segment, const ParamRef& weight, const ParamRef& hidden,
                         double temperature, int32_t depth, const Tensor& x) const;
  // Of a random router, for depths first, first + 1, ...
  RouterScores drawn_scores(const Segment& segment, int32_t first, int32_t depths,
                            const std::vector<int32_t>& of_rows, const Rows& everything) const;
  // Candidates, as indices among them, that make pass `depth`, by the scores that decide under the options.
  std::vector<int32_t> choose(const RouterSpec& spec, int32_t depth, const Candidates& candidates,
                              const Rows& everything, const RouterScores& scores,
                              const Tensor& deciding) const;
  std::vector<int32_t> top_k(const RouterSpec& spec, int32_t depth, const Candidates& candidates,
                             const Rows& everything, const RouterScores& scores) const;
  // The depth that each row takes under token choice, counted from 0.
  std::vector<int32_t> choose_depths(const Segment& segment, const Tensor& weights) const;
  void note_pass(const RouterSpec& spec, RoutedPass pass, const RouterScores& scores, const Tensor& deciding,
                 const std::vector<int32_t>& kept);
  void note_choice(const Segment& segment, const RouterScores& scores, std::vector<int32_t> chosen);
  void watch(const std::string& name, const Tensor& tensor) const {
    if (options_.trace) options_.trace(name, tensor.detach());
  }

  const NotedParameters& parameters_;
  const ForwardOptions& options_;
  RunLayers run_layers_;
  ForwardResult& result_;
  Tensor loss_, aux_loss_;
};

}  // namespace fathom::train
