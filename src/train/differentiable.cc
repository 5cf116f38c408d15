#include "train/differentiable.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include "train/op_profile.h"

namespace fathom::train {

namespace {

struct ClosureNode final : torch::autograd::Node {
  ClosureNode(const char* name, torch::autograd::edge_list&& edges, Backward closure)
      : Node(std::move(edges)), op(name), backward(std::move(closure)) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& grads) override {
    const at::NoGradGuard no_graph;
    const OpTimer timer(op, OpPass::kBackward);
    std::vector<Tensor> defined;
    for (size_t i = 0; i < grads.size(); ++i) {
      defined.push_back(grads[i].defined() ? grads[i].contiguous() : input_metadata(i).zeros_like());
    }
    return backward(defined);
  }
  void release_variables() override { backward = nullptr; }

  const char* op;
  Backward backward;
};

}  // namespace

GradientSink::GradientSink(const Tensor& input) {
  if (input.is_leaf()) {
    Tensor& grad = input.mutable_grad();
    accumulate = grad.defined();
    if (!accumulate) grad = at::empty(input.sizes(), at::kFloat);
    tensor = grad;
  } else {
    tensor = returned = at::empty(input.sizes(), at::kFloat);
  }
}

bool wants_gradient(const std::vector<Tensor>& inputs) {
  if (!at::GradMode::is_enabled()) return false;
  for (const Tensor& input : inputs) {
    if (input.defined() && input.requires_grad()) return true;
  }
  return false;
}

void record(const char* op, std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
            Backward backward) {
  if (!wants_gradient(inputs)) return;
  const std::shared_ptr<ClosureNode> node(
      new ClosureNode(op, torch::autograd::collect_next_edges(inputs), std::move(backward)),
      torch::autograd::deleteNode);
  for (Tensor& output : outputs) torch::autograd::set_history(output, node);
}

}  // namespace fathom::train
