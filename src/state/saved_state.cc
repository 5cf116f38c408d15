#include "state/saved_state.h"

namespace fathom {

Result<SavedState> SavedState::write(const SequenceState& state, const std::string& directory) {
  FATHOM_ASSIGN(ScratchFile file, ScratchFile::open(directory));
  Status written;
  state.for_each_page_in_use([&](const uint8_t* page, int64_t bytes) {
    if (written.ok()) written = file.append({page, static_cast<size_t>(bytes)});
  });
  if (!written.ok()) return written.error();
  return SavedState(std::move(file), state.outline());
}

Status SavedState::read(SequenceState& state) const {
  if (!state.take_outline(outline_)) return invalid("no room in the memory for states");
  Status done;
  int64_t offset = 0;
  state.for_each_page_in_use([&](uint8_t* page, int64_t bytes) {
    if (done.ok()) done = file_.read(offset, {page, static_cast<size_t>(bytes)});
    offset += bytes;
  });
  return done;
}

}  // namespace fathom
