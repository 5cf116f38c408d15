#include "cli/verify/case_batch.h"

namespace fathom::cli::verify {

train::Batch batch_of(const ModelCase& c, std::span<const CaseSequence> sequences) {
  train::Batch batch;
  for (const CaseSequence& sequence : sequences) {
    batch.add(sequence.tokens, sequence.labels, static_cast<int32_t>(sequence.first_position));
    batch.key_rows.push_back(sequence.key_rows);
    if (c.family != Family::kRecursions) continue;
    for (size_t t = 0; t < sequence.places.size(); ++t) {
      batch.positions[static_cast<size_t>(batch.sequences.back().begin) + t] =
          static_cast<int32_t>(sequence.places[t]);
    }
  }
  return batch;
}

}  // namespace fathom::cli::verify
