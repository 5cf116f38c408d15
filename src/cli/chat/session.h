// A conversation with a model: the tokens of all turns and the state after them. A turn reads what is new and
// nothing else; what a save keeps is all of it, to the bit.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "cli/chat/reasoning_splitter.h"
#include "cli/loaded_model.h"
#include "engine/generate.h"
#include "text/chat_template.h"

namespace fathom::cli::chat {

struct SessionOptions {
  int64_t context = 4096;
  int64_t chunk = 256;  // rows of a prompt per call
  DType kv_type = DType::kBF16;
  Numerics numerics = {};
  int64_t max_tokens = -1;        // of an answer; -1: until it ends or the context is full
  int64_t reasoning_budget = -1;  // tokens of an answer's reasoning; -1: no limit; 0: none
  kernels::SamplingParams sampling;
  std::string system;  // the system message; empty: the template's own, if it has one
};

struct Turn {
  int64_t prompt_tokens = 0;     // read for this turn
  int64_t generated_tokens = 0;  // with those that ended the reasoning
  double prefill_seconds = 0, decode_seconds = 0;
  enum class End : uint8_t { kMessage, kLength, kContext, kInterrupted } end = End::kMessage;
};

class Session {
 public:
  // The model, the pool and `interrupted` outlive the session.
  Session(const LoadedModel& model, text::ChatTemplate chat, const SessionOptions& options,
          Parallel& parallel, const std::atomic<bool>& interrupted);

  // Whether the template's markers are special tokens of the tokenizer. If not they are ordinary text, which
  // models that were not trained for conversations have in any case.
  bool has_markers() const { return end_token_ >= 0; }

  // Reads the user's message and generates the answer; `show` sees it part by part. Stops between tokens, and
  // between chunks of the message, when `interrupted` becomes true, and keeps what is there: the next message
  // follows it. Errors: the message does
  // not fit the context; logits that are not finite. The conversation is as it was.
  Result<Turn> ask(const std::string& message, const std::function<void(const AnswerPart&)>& show);

  // To the start, behind what the template writes before the first message, with the system message that the
  // conversation began with.
  void clear();

  Status save(const std::string& path) const;
  // Goes on where the saved conversation was; the present one is gone. Errors, which leave it as it is:
  // read_state(), a conversation of another chat template or longer than the context.
  Status load(const std::string& path);

  // The conversation with its markers.
  const std::vector<int32_t>& sequence() const { return tokens_; }
  int64_t tokens() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t context() const { return options_.context; }
  int64_t state_bytes() const { return state_.bytes(); }

 private:
  Result<Turn> answer(const std::function<void(const AnswerPart&)>& show, Turn turn);
  void append(const std::vector<text::PromptPiece>& pieces, std::vector<int32_t>& to) const;
  // Generates at most `limit` tokens; true if the answer ended by itself.
  Result<bool> generate(int64_t limit, const std::function<bool(const GeneratedToken&)>& on_token,
                        Turn& turn);

  const LoadedModel& model_;
  const text::ChatTemplate chat_;
  const SessionOptions options_;
  const std::string fingerprint_;
  int32_t end_token_ = -1;  // of the end marker, if it is a token
  Executor executor_;
  SequenceState state_;
  Generator generator_;
  const std::atomic<bool>& interrupted_;
  std::string system_;           // the system message of this conversation
  std::vector<int32_t> tokens_;  // the first state_.position() of them have been read
  bool open_ = false;            // the last message has no end yet
};

}  // namespace fathom::cli::chat
