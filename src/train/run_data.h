// The token streams of a run: text is tokenised once into shards in the run's directory, shards and raw token
// files are mapped where they lie.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "data/packed_rows.h"
#include "train/batch.h"
#include "train/run_config.h"

namespace fathom::train {

struct TrainSource {
  SourceConfig config;
  std::shared_ptr<const PackedRows> rows;
};

struct RunData {
  std::vector<TrainSource> sources;         // of the training data, in the order of the configuration
  std::shared_ptr<const PackedRows> valid;  // null without validation data
  std::optional<int32_t> end_of_document;   // none: the tokenizer has no token that ends a text
  // Files that make a checkpoint readable as text: name, content.
  std::vector<std::pair<std::string, std::string>> tokenizer_files;

  int64_t train_rows() const;
  int64_t train_tokens() const;
};

// `vocab_size` is the model's: ids must stay below it. Shards go to `directory`/data/, under names that say
// what they were made of and how, and are used again if they are younger than the text. Where they are not
// there yet, they are made in `scratch`/data/, which may be the same folder; in another one they are taken if
// they are there.
Result<RunData> open_run_data(const DataConfig& config, int64_t vocab_size, const std::string& directory,
                              const std::string& scratch);

// Of text that is not read to its end.
struct TextSample {
  int64_t tokens = 0;  // made of what was read
  int64_t bytes_read = 0, bytes = 0;
};

struct RunSamples {
  std::vector<std::optional<TextSample>> sources;  // of the configuration; none: nothing is left out
  std::optional<TextSample> valid;
};

// Before a rehearsal's open_run_data(), and with the same folders: the shards that this would make in
// `scratch`, each only up to the document with which it has `most_tokens`. Text may be any size, the folder
// may not.
Result<RunSamples> sample_run_data(const DataConfig& config, const std::string& directory,
                                   const std::string& scratch, int64_t most_tokens, Parallel& threads);

// Adds rows to a batch: sequences, labels, cut at documents' ends if the configuration says so. Returns the
// labels counted, those that are not ignored.
int64_t add_row(const DataConfig& config, const PackedRows& rows, int64_t row, Batch& batch);

}  // namespace fathom::train
