// Names and shapes of a checkpoint's tensors, as data: how each file tensor is put together from rows of the
// plan's parameters. The same table serves reading, writing, gradients of fixtures, and counting of file
// tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/model_plan.h"

namespace fathom {

enum class NamingScheme : uint8_t {
  kLlama,  // Hugging Face LlamaForCausalLM; also the plain recursive models, which repeat names per unrolled
           // layer
  kMor,    // the published Mixture-of-Recursions classes
  kArchScale,  // the published training code of SambaY: fused q/k/v interleaved per KV group, w1 = gate then
               // up
  kPhi4Flash   // Phi-4-mini-flash-reasoning: Wqkv = all q, all k, all v; fc1, fc2
};

// File rows [file_row, file_row + rows) are parameter rows [param_row, ...). A row is everything but the
// first dimension; the element counts of a row agree on both sides even where the shapes differ ([e, 1, 4]
// and [e, 4]).
struct TensorPiece {
  int32_t param = 0;
  int64_t param_row = 0;
  int64_t file_row = 0;
  int64_t rows = 0;
};

struct FileTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<TensorPiece> pieces;
  std::vector<std::string> aliases;  // further names under which a file may repeat the same tensor
};

// The natural scheme of a plan: kLlama, kMor, kArchScale or kPhi4Flash by its architecture and router.
NamingScheme naming_of(const ModelPlan& plan);

// The scheme of a checkpoint of the plan that has those tensors for which `holds` says so: the training code
// stores the model of Phi-4-mini-flash under its own names.
NamingScheme naming_of(const ModelPlan& plan, const std::function<bool(const std::string&)>& holds);

// Every tensor of the checkpoint, in the order of the model. Each parameter row is covered exactly once; a
// tied head is an alias of the embedding.
std::vector<FileTensor> checkpoint_tensors(const ModelPlan& plan, NamingScheme scheme);

}  // namespace fathom
