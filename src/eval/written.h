// Tasks whose answers a model writes: each prompt is read once, each answer continues a copy of the state
// after it, which changes no bit of what is written.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "engine/generate.h"
#include "eval/evaluate.h"
#include "eval/items.h"
#include "eval/work_spent.h"

namespace fathom::eval {

// Prompts to ids and answers to text. Given by the caller, so that this folder does not choose between
// tokenizers and bytes.
struct PromptCodec {
  // `chat`: the text is a user's message, and the answer is to follow.
  std::function<std::vector<int32_t>(const std::string& prompt, bool chat)> encode;
  std::function<std::string(const std::vector<int32_t>& ids)> decode;
  std::vector<int32_t> end_ids;  // end an answer
  std::string chat_template;     // its name; empty: none, messages are read as text
};

struct WriterSettings {
  int64_t context = 0;  // tokens of prompt and answer at most
  int64_t chunk = 256;  // rows of a forward call
  DType kv_type = DType::kF32;
  bool several = true;  // more than one answer will be asked for a prompt
  Numerics numerics = {};
};

// Continues prompts by the causal routing rule. Memory: a state, two for several answers, and the executor's.
class Writer {
 public:
  // Plan, weights and pool are the caller's and outlive the writer.
  Writer(const ModelPlan& plan, const Weights& weights, const WriterSettings& settings, Parallel& parallel);

  // Reads a prompt of 1 to context - 1 tokens; answers continue the last one that was read. `go_on` is asked
  // behind each chunk but the last; false ends the reading, after which there is nothing to continue. Returns
  // whether all was read.
  bool read(std::span<const int32_t> prompt, const std::function<bool()>& go_on);

  struct Answer {
    std::vector<int32_t> tokens = {};
    bool finished = false;  // ended by itself or by `go_on`, not by the limit of tokens
  };
  // `last`: no other answer to this prompt will follow. `go_on` sees each token; false ends the answer behind
  // it. Error: logits that are not finite.
  Result<Answer> write(const kernels::SamplingParams& sampling, int64_t max_tokens,
                       std::span<const int32_t> end_ids, const std::function<bool(int32_t token)>& go_on,
                       bool last);

  const WorkSpent& spent() const { return spent_; }
  int64_t state_bytes() const { return trunk_.bytes() * (branch_ ? 2 : 1); }
  int64_t scratch_bytes() const { return executor_.scratch_bytes(); }

 private:
  const WriterSettings settings_;
  Executor executor_;
  Generator generator_;
  SequenceState trunk_;                  // after all of the prompt but its last token
  std::optional<SequenceState> branch_;  // one answer
  int32_t last_token_ = 0;               // of the prompt
  WorkSpent spent_;
};

// Tokens of the longest prompt with its answer. `writing` is the task's own or what the user made of it, its
// context above 0. Makes every prompt, so that what leaves no room for an answer is found before any is
// written: errors name file and item.
Result<int64_t> longest_written(const TaskItems& items, const Writing& writing, const PromptCodec& codec);

struct WritingCallbacks {
  std::function<Status(const ScoredItem&)> on_item;  // its error ends the evaluation
  // Asked after every chunk of a prompt, every token and every answer; false ends what is being read or
  // written, and the item with it.
  std::function<bool()> go_on;
};
// Sample s of item i draws with a seed of its own, made of (seed, i, s).
Result<TaskReport> evaluate_written(const TaskItems& items, const Writing& writing, const PromptCodec& codec,
                                    Writer& writer, const WritingCallbacks& callbacks);

}  // namespace fathom::eval
