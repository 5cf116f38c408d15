// Recorded cases of whole models: plan, weights and tensors, and what both executors compare with.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "cli/verify/recorded_tensors.h"
#include "cli/verify/report.h"
#include "engine/executor.h"
#include "io/weight_files.h"
#include "plan/model_plan.h"
#include "plan/naming.h"

namespace fathom::cli::verify {

// The two families differ in what they call things.
enum class Family : uint8_t { kRecursions, kHybrid };

struct ModelCase {
  std::string path, name;
  Family family = Family::kRecursions;
  ModelPlan plan;
  NamingScheme scheme = NamingScheme::kLlama;
  std::shared_ptr<const WeightFiles> weights;
  RecordedTensors io;
  Limits limits;
  nlohmann::json record;  // case.json

  // What it asks for beside one forward and backward pass, by the keys of case.json.
  bool training_steps() const { return record.contains("micro_batches") || optimizer_steps(); }
  bool optimizer_steps() const { return record.contains("log_fp32"); }  // of the hybrids
  bool warmup_calls() const { return record.contains("calls"); }

  // Whether the recorded forward pass, which is in training mode and the first call, computes something else
  // than evaluation does: a warm-up is on, or the case has logits of both.
  bool training_differs() const;
};

// Reads a case. kNotSupported ("not supported yet: X") for what has no plan. Limits are those of the family's
// README, or the case's own `suggested_tolerance`.
Result<ModelCase> open_model_case(const std::string& directory, const std::string& name);

// One sequence of a case's batch, padding taken out where it can be; of a row of several documents, one of
// them.
struct CaseSequence {
  int64_t batch = 0;            // entry of the recorded batch
  int64_t first_position = 0;   // of its rotary positions
  std::vector<int64_t> places;  // [rows] column of each row in the recorded tensors
  std::vector<int32_t> tokens;  // [rows]
  std::vector<int32_t> labels;  // [rows] the next token's label, -100 where ignored or behind the end
  int64_t key_rows = 0;         // rows that write keys, from the first: all, or those before right padding
};

// The documents [begin, end) of a row, which is cut behind each `end_of_document`; -1 cuts nothing.
std::vector<std::pair<int64_t, int64_t>> documents_of(std::span<const int64_t> row, int64_t end_of_document);

// A number that was recorded of the whole case: tensor `name` ("scalar.loss_lm"), or the record's of that
// name (scalars.loss_lm), which cases of initialisation have alone. Nothing if there is neither.
std::optional<double> recorded_scalar(ModelCase& c, const std::string& name);

// The sequences of `input_ids`, `labels`, `attention_mask` and the record's `segments`. Labels of the
// recursion family are not shifted in the file; here they are.
// Names may have a prefix, "leftpad.input_ids".
Result<std::vector<CaseSequence>> sequences_of(ModelCase& c, const std::string& prefix = "");

// The recorded scores of a random router for a sequence, in [0, 1), [depth, rows]; empty without.
std::vector<float> router_draws(ModelCase& c, const CaseSequence& sequence);

// What the sum of losses is divided by. The recursion family counts all labels that are not ignored, before
// the shift takes one of each row away, and all micro-batches of a step.
double items_in_batch(ModelCase& c, const std::vector<CaseSequence>& sequences);

// What the published code divides the losses of a router by: those items over the places of `input_ids`,
// padding among them. 1 without labels.
double router_divisor(ModelCase& c, const std::vector<CaseSequence>& sequences);

// Of one prediction, in nats.
double negative_log_likelihood(std::span<const float> logits, int32_t label);

// Compares rows of a recorded tensor [batch, length, ...]: gathers rows over sequences, then compares once.
class RowComparison {
 public:
  // `got` holds rows [0, rows) of the sequence in order, `columns` values each.
  void add(const CaseSequence& sequence, const float* got, int64_t rows, int64_t columns,
           const RecordedTensor& recorded);
  void report(Report& report, const std::string& executor, const std::string& tensor, Kind kind) const;
  bool empty() const { return got_.empty(); }

 private:
  std::vector<float> got_, expected_;
};

// What a case has of states: a prompt of the recorded length (prefill.*), then single tokens
// (decode.{t}.logits), the states after both, those after a prompt shorter than a convolution
// (short_prompt.*), and rows with padding on their left (leftpad.*).
Status verify_states(ModelCase& c, Report& report, Executor& executor,
                     const std::vector<CaseSequence>& sequences);

// The engine's half: logits of one forward call and token by token, what the trace shows, caches, the mean
// loss.
Status verify_in_engine(ModelCase& c, Report& report, Parallel& parallel);

// What the published code recorded of a trained model on rows of validation text (probe.safetensors), and the
// loss there before training (curve.json, of init.safetensors); the text is ../data/val.bin, seen from the
// case. Cases without a probe have none of it.
Status verify_probe(const ModelCase& c, Report& report, Parallel& parallel);

// The files of a checkpoint case, pytorch_model.bin and model.safetensors, as the published code saved them:
// how many names and storages there are, which of them are tied, and the values against the case's own
// weights. Other cases have none.
Status verify_checkpoint_files(const ModelCase& c, Report& report);

// What case.json says of the model as a whole, where it does: how many tensors, values and names a checkpoint
// has, which layers write what others read.
void compare_record(const ModelCase& c, Report& report);

// Names of recorded tensors that only the training executor answers for: gradients, training losses.
bool belongs_to_training(const std::string& tensor);

}  // namespace fathom::cli::verify
