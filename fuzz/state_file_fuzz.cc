// Any bytes are either refused with a sentence, and leave the state as it was, or give a state within its
// context whose tokens are of the vocabulary, and from which the model goes on.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/parallel.h"
#include "engine/executor.h"
#include "plan/spec_io.h"
#include "state/state_file.h"
#include "weights/random_weights.h"

namespace {

constexpr int64_t kContext = 64, kRows = 8;

// A tiny model and a state of it.
struct Model {
  explicit Model(const std::string& name)
      : plan(*build_plan(
            *fathom::load_spec(std::string(FATHOM_SOURCE_DIR "/configs/models/tiny/") + name + ".toml"))),
        weights(random_weights(plan, 1, fathom::DType::kF32, pool)),
        executor(plan, weights, kRows, kContext, pool),
        state(executor.make_state(fathom::DType::kF32)) {}

  void take(const fathom::SafetensorsFile& file) {
    const int64_t before = state.position();
    const auto content = fathom::read_state(file, plan, "m", state);
    if (!content.ok()) {
      if (content.error().message.empty() || state.position() != before) std::abort();
      return;
    }
    const int64_t position = state.position();
    if (position > state.context() || position > static_cast<int64_t>(content->tokens.size())) std::abort();
    for (int32_t token : content->tokens) {
      if (token < 0 || token >= plan.dims.vocab_size) std::abort();
    }
    if (position == state.context()) return;
    const int32_t next = 0;
    executor.forward(state, {&next, 1}, {});
    if (state.position() != position + 1) std::abort();
  }

  const fathom::ModelPlan plan;
  fathom::ThreadPool pool{1};
  const fathom::Weights weights;
  fathom::Executor executor;
  fathom::SequenceState state;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = fathom::SafetensorsFile::parse({data, size});
  if (!file.ok()) return 0;
  // Recurrent states and windows; a copy of the keys for each depth, and one that is merged with the first.
  static Model models[] = {Model("sambay"), Model("mor-middle_cycle-nr3"), Model("mor-kv-hybrid")};
  for (Model& model : models) model.take(*file);
  return 0;
}
