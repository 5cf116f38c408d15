// A state outside the memory of states while its sequence waits: its pages as they are, in a file without a
// name that goes with this object or with the process. What is to be kept longer, or for another process, is
// written by state_file.h.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/scratch_file.h"
#include "state/sequence_state.h"

namespace fathom {

class SavedState {
 public:
  // `directory` is on the file system whose room is taken. Errors: those of the system, as a full disk.
  static Result<SavedState> write(const SequenceState& state, const std::string& directory);

  // Makes `state`, which is empty and was made for the same plan, context, rows and type, the one that was
  // written. Error: no room in its memory; the file cannot be read. The state is of no use then.
  Status read(SequenceState& state) const;

 private:
  SavedState(ScratchFile file, SequenceState::Outline outline)
      : file_(std::move(file)), outline_(std::move(outline)) {}
  ScratchFile file_;
  SequenceState::Outline outline_;
};

}  // namespace fathom
