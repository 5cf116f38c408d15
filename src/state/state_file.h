// A sequence's state on disk: exact, and independent of the context and of the size of calls it was made for.
// The file is one of safetensors (docs/formats/session.md): what each slot holds that later tokens can see,
// and the tokens that led there. Written atomically.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/safetensors.h"
#include "state/sequence_state.h"

namespace fathom {

struct StateFileContent {
  std::vector<int32_t> tokens;  // the sequence; the first state.position() of them are in the state
  std::string model;            // says which weights made the state (weights/fingerprint.h)
  std::string note;             // the caller's own, kept as it is
};

// `state` is one of causal routing, which lets every token make the first pass of a recursion.
Status write_state(const std::string& path, const ModelPlan& plan, const SequenceState& state,
                   const StateFileContent& content);

// May refuse what a file holds before any of it is taken.
using AcceptContent = std::function<Status(const StateFileContent&)>;

// Fills `state`, made for the plan, and gives the rest of the content. Errors, which leave the state as it
// was: what the file says, where it is wrong or not of this plan and type; another model; more tokens than
// the state's context; tokens beyond the vocabulary; caches of lengths that no sequence leaves; values that
// are not finite; what `accept` says.
Result<StateFileContent> read_state(const std::string& path, const ModelPlan& plan, const std::string& model,
                                    SequenceState& state, const AcceptContent& accept = {});
// The same of a file that is open.
Result<StateFileContent> read_state(const SafetensorsFile& file, const ModelPlan& plan,
                                    const std::string& model, SequenceState& state,
                                    const AcceptContent& accept = {});

}  // namespace fathom
