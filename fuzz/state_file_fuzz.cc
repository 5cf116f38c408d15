// Any bytes are either refused with a sentence, and leave the state as it was, or give a state within its
// context whose tokens are of the vocabulary.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "plan/spec_io.h"
#include "state/state_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fathom::ModelPlan plan =
      *build_plan(*fathom::load_spec(FATHOM_SOURCE_DIR "/configs/models/tiny/sambay.toml"));
  static fathom::SequenceState state(plan, 64, 8, fathom::DType::kF32);
  const auto file = fathom::SafetensorsFile::parse({data, size});
  if (!file.ok()) return 0;
  const int64_t before = state.position();
  const auto content = fathom::read_state(*file, plan, "m", state);
  if (!content.ok()) {
    if (content.error().message.empty() || state.position() != before) std::abort();
    return 0;
  }
  if (state.position() > state.context() || state.position() > static_cast<int64_t>(content->tokens.size()))
    std::abort();
  for (int32_t token : content->tokens) {
    if (token < 0 || token >= plan.dims.vocab_size) std::abort();
  }
  return 0;
}
