// What the names and shapes of tensors alone say about a published Mixture-of-Recursions checkpoint, whose
// config.json says nothing about its recursion (Mixture-of-Recursions, 8.2 and 8.3).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/model_spec.h"

namespace fathom {

// A tensor of a checkpoint, by what stands in its file's header.
struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;
};

struct PublishedRecursion {
  RouterKind kind = RouterKind::kExpertChoice;
  RouterNetwork network = RouterNetwork::kLinear;  // kMlp for the two MLP networks, which are one in the code
  bool aux_router = false;
  bool loss_free = false;  // a bias balances the loads of token choice
  bool middle = false;     // a layer of its own before and behind the recursions
  int64_t num_recursion = 0;
  int64_t block_layers = 0;  // of each recursion
};

// Nothing if no name is one of a routed block. What recursions share may be stored for each or once: then
// routers tell how many there are, of expert choice one for each, of token choice one with an output for
// each.
std::optional<PublishedRecursion> published_recursion(const std::vector<NamedShape>& tensors);

// "expert choice, 3 recursions of 10 layers".
std::string to_sentence(const PublishedRecursion& recursion);

// `spec`, which knows of no recursion, with what the names say: sharing, recursions, layers, kind and network
// of the router. Its score function and alpha are in no name.
ModelSpec with_recursion(const ModelSpec& spec, const PublishedRecursion& recursion);

}  // namespace fathom
