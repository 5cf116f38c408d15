#include "plan/published_names.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace fathom {

namespace {

// The parts of a name, walked from the left.
class Parts {
 public:
  explicit Parts(std::string_view name) : rest_(name) {}

  bool word(std::string_view expected) {
    if (next() != expected) return false;
    advance();
    return true;
  }
  // An index of a layer or a recursion.
  std::optional<int64_t> index() {
    const std::string_view part = next();
    int64_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (part.empty() || part.size() > 4 || error != std::errc() || end != part.data() + part.size() ||
        value < 0) {
      return std::nullopt;
    }
    advance();
    return value;
  }

 private:
  std::string_view next() const { return rest_.substr(0, rest_.find('.')); }
  void advance() { rest_.remove_prefix(std::min(rest_.size(), next().size() + 1)); }

  std::string_view rest_;
};

struct Seen {
  int64_t first_module = INT64_MAX, last_module = -1;  // of those with a block or a router
  int64_t last_depth = -1, last_layer = -1;
  int64_t router_outputs = 0;
  bool token = false;
};

// model.layers.{module}.block.{layer}., model.layers.{module}.block_list.{depth}.{layer}. or
// model.layers.{module}.mor_router.router., whose last matrix is `weight` or `2.weight`.
void look_at(const NamedShape& tensor, Seen& seen) {
  Parts parts(tensor.name);
  if (!parts.word("model") || !parts.word("layers")) return;
  const auto module = parts.index();
  if (!module) return;
  if (parts.word("mor_router")) {
    const bool last = tensor.name.ends_with(".router.weight") || tensor.name.ends_with(".router.2.weight");
    if (last && !tensor.shape.empty()) seen.router_outputs = std::max(seen.router_outputs, tensor.shape[0]);
  } else {
    const bool token = parts.word("block_list");
    if (!token && !parts.word("block")) return;
    const auto depth = token ? parts.index() : std::optional<int64_t>(0);
    const auto layer = depth ? parts.index() : std::nullopt;
    if (!layer) return;
    seen.token |= token;
    seen.last_depth = std::max(seen.last_depth, *depth);
    seen.last_layer = std::max(seen.last_layer, *layer);
  }
  seen.first_module = std::min(seen.first_module, *module);
  seen.last_module = std::max(seen.last_module, *module);
}

}  // namespace

std::optional<PublishedRecursion> published_recursion(const std::vector<NamedShape>& tensors) {
  Seen seen;
  PublishedRecursion out;
  for (const NamedShape& tensor : tensors) {
    look_at(tensor, seen);
    if (tensor.name.ends_with(".mor_router.router.0.weight")) out.network = RouterNetwork::kMlp;
    out.loss_free |= tensor.name.ends_with(".router_bias");
    out.aux_router |= tensor.name.find(".mlp_router.router.") != std::string::npos;
  }
  if (seen.last_layer < 0) return std::nullopt;
  out.kind = seen.token ? RouterKind::kTokenChoice : RouterKind::kExpertChoice;
  out.middle = seen.first_module > 0;
  out.num_recursion = seen.token ? std::max(seen.last_depth + 1, seen.router_outputs)
                                 : seen.last_module - seen.first_module + 1;
  out.block_layers = seen.last_layer + 1;
  return out;
}

std::string to_sentence(const PublishedRecursion& recursion) {
  return std::string(recursion.kind == RouterKind::kExpertChoice ? "expert" : "token") + " choice, " +
         std::to_string(recursion.num_recursion) + " recursions of " +
         std::to_string(recursion.block_layers) + " layers";
}

ModelSpec with_recursion(const ModelSpec& given, const PublishedRecursion& recursion) {
  ModelSpec spec = given;
  spec.sharing = recursion.middle ? Sharing::kMiddleCycle : Sharing::kCycle;
  spec.num_recursion = recursion.num_recursion;
  spec.num_hidden_layers = recursion.num_recursion * recursion.block_layers + (recursion.middle ? 2 : 0);
  RouterSpec router = default_router(recursion.kind);
  router.network = recursion.network;
  if (recursion.aux_router) router.loss = RouterLoss::kAuxRouter;
  if (recursion.loss_free) router.loss = RouterLoss::kLossFree;
  spec.router = router;
  return spec;
}

}  // namespace fathom
