// A training run as one TOML file (a recipe, configs/recipes/) with `--section.key=value` overrides. Every
// key has a type and a default; unknown keys are refused by name. The resolved configuration is written
// beside the run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "plan/model_spec.h"
#include "train/precision.h"
#include "train/schedule.h"

namespace fathom::train {

// Which parameters AdamW decays: matrices and what relaxation adds, as Mixture-of-Recursions does;
// everything; or what the model's parametrisation says (Decoder-Hybrid-Decoder, plan/scaling_study.h).
enum class DecayRule : uint8_t { kMatrices, kAll, kParametrisation };
enum class RowOrderKind : uint8_t { kShuffle, kSequential, kAffine, kFileGroups };

// One part of the training data.
struct SourceConfig {
  std::string name;  // in logs; if not given, the first path without its folder and ending
  std::vector<std::string> paths;
  double weight = 1;  // rows of the source are weight / sum of weights of all
};

struct DataConfig {
  // [[data.mixture]] tables, or one source "train" of weight 1 if the recipe says data.train = [...]. Paths
  // are text files (.jsonl: a JSON object a line), directories, or token shards.
  std::vector<SourceConfig> sources;
  std::vector<std::string> valid;
  std::string text_field = "text";    // of JSON Lines: the field with a document's text
  std::string tokenizer = "bytes";    // a directory with tokenizer.json, or "bytes"
  std::string document_separator;     // splits one file into documents; empty: a file is a document
  int64_t sequence_length = 512;      // predictions per row, or tokens (see label_inside_row)
  bool label_inside_row = false;      // true: a row is sequence_length tokens and predicts all but its first
  bool keep_documents_apart = false;  // attention and state do not cross document boundaries
  // Documents kept apart are segments of their row, as in the published variable-length training of the
  // hybrids: their positions go on through the row, and the last token of one predicts the first of the next.
  bool segments_of_row = false;
  RowOrderKind order = RowOrderKind::kShuffle;
  int64_t affine_multiplier = 1;  // kAffine: row = ((rows_per_step * step + i) * multiplier) mod rows
  // kFileGroups: files of a group. Rows then lie in one file each and share no token (data/packed_rows.h).
  int64_t group_files = 1;
};

struct OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  DecayRule decay = DecayRule::kMatrices;
  double clip = 1.0;  // global norm; 0: off
};

struct LoopConfig {
  int64_t steps = 1000;
  int64_t rows = 16;  // rows of one micro-batch
  int64_t accumulation = 1;
  uint64_t seed = 1;
  Precision precision = Precision::kF32;
  bool gradient_checkpointing = false;  // less memory for activations, one more forward pass of time
  int threads = 0;                      // 0: all available cores
  int64_t log_every = 1;
  int64_t eval_every = 0;  // 0: at the end only
  int64_t eval_rows = 64;
  int64_t save_every = 0;    // 0: at the end only
  int64_t keep = 2;          // checkpoints kept
  int64_t sample_every = 0;  // 0: never
  std::string sample_prompt;
  int64_t sample_tokens = 64;
  double label_smoothing = 0;  // of the loss of training
  // Shares of attention's probabilities that training drops from a step on: of layers with keys of their own
  // (the self-decoder), and of those that read another layer's (the cross-decoder).
  double attention_dropout = 0, cross_attention_dropout = 0;
  int64_t attention_dropout_from = 0, cross_attention_dropout_from = 0;
  bool count_masked_labels =
      false;  // divide the loss by tokens rather than predictions, as the published MoR code
};

struct RunConfig {
  std::string name = "run";
  ModelSpec model;
  std::string init;  // a model directory to start from; empty: fresh weights
  DataConfig data;
  OptimizerConfig optimizer;
  Schedule schedule;
  LoopConfig train;
};

// `overrides` are "section.key=value" with a TOML value, or a bare word for a string. Relative paths in the
// file are taken from `directory`.
Result<RunConfig> parse_run_config(std::string_view toml, const std::vector<std::string>& overrides,
                                   const std::string& directory);
Result<RunConfig> read_run_config(const std::string& path, const std::vector<std::string>& overrides);

// The resolved configuration as TOML; parses back to the same values.
std::string to_toml(const RunConfig& config);

}  // namespace fathom::train
