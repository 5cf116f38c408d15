// The token streams of a run: text is tokenised once into shards in the run's directory, shards and raw token
// files are mapped where they lie.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "data/packed_rows.h"
#include "train/batch.h"
#include "train/run_config.h"

namespace fathom::train {

struct RunData {
  std::shared_ptr<const PackedRows> train;
  std::shared_ptr<const PackedRows> valid;  // null without validation data
  int32_t end_of_document = 0;
  // Files that make a checkpoint readable as text: name, content.
  std::vector<std::pair<std::string, std::string>> tokenizer_files;
};

// `vocab_size` is the model's: ids must stay below it. Shards go to `directory`/data/ and are used again if
// they are younger than the text.
Result<RunData> open_run_data(const DataConfig& config, int64_t vocab_size, const std::string& directory);

// Adds rows to a batch: sequences, labels, cut at documents' ends if the configuration says so. Returns the
// labels counted, those that are not ignored.
int64_t add_row(const DataConfig& config, const PackedRows& rows, int64_t row, Batch& batch);

}  // namespace fathom::train
