// Many requests through one model at once: continuous batching. Every pass takes a row of each sequence that
// is drawing tokens, and chunks of prompts for the rows that are left. What a request gets is what it would
// get alone, to the bit, because a call's company changes nothing (executor.h) and random numbers are keyed
// by (seed, position).
//
// Guesses. Tokens that are guessed from the text are read with the last one, and each that the model then
// draws itself is a token that costs no pass of its own. From the first that it does not draw the sequence
// goes back.
//
// Order. Requests wait in line by priority, then by arrival; nobody overtakes within a priority. A request is
// admitted when there is memory for what it has to read and a reserve, beside what was so promised to others.
// If the memory ends, that of the last in the same order is taken from it: it waits again, at its old place,
// and what it had read is saved and restored, or read once more, which gives the same bits. So the first
// always goes on. Given the same submissions and cancellations between the same passes all decisions are the
// same.
//
// Used by one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/parallel.h"
#include "engine/request.h"
#include "engine/sequence_model.h"
#include "engine/token_draw.h"

namespace fathom {

struct SchedulerOptions {
  int64_t max_sequences = 64;  // that run at once; fewer than the model's rows
  int64_t reserve_tokens =
      64;  // for which there has to be memory behind the prompt of a request that is admitted
  // Rows up to which a pass takes guesses of tokens (Request::draft_tokens) beside the rows that it must: up
  // to there a row costs little, since reading the weights takes the time.
  int64_t draft_rows = 16;
};

struct SchedulerCounts {
  int64_t passes = 0, rows = 0;  // rows of all passes
  int64_t drawn = 0;             // tokens
  int64_t preemptions = 0;
  int64_t read_again = 0;             // rows that preemption made necessary
  int64_t restored = 0;               // tokens that were not read again, since what had been read was saved
  int64_t drafted = 0, accepted = 0;  // guesses of tokens that were read, and those that came true
  int64_t cached = 0;                 // tokens of prompts that others had read before
};

class Scheduler {
 public:
  // All of them are the caller's and outlive this. `parallel` is for drawing tokens.
  Scheduler(SequenceModel& model, Parallel& parallel, Clock& clock, const SchedulerOptions& options = {});
  ~Scheduler();  // requests that have not ended end without a word

  // Puts a request in line. Errors: a prompt that is empty or has ids beyond the vocabulary, that leaves no
  // room in the model's context, or whose state can never fit in the memory, alone.
  Result<RequestId> submit(Request request);
  // Ends a request, before its next row, with what it has; nothing if it has ended.
  void cancel(RequestId id);

  // The same at once, and without a word to who asked. Not from inside step().
  void forget(RequestId id);

  // One pass. False: there was nothing to do.
  bool step();

  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  const SchedulerCounts& counts() const { return counts_; }
  int64_t context() const { return model_.context(); }
  int64_t max_sequences() const { return options_.max_sequences; }

 private:
  // In the order in which requests go.
  struct Place {
    int32_t priority;
    RequestId id;
    auto operator<=>(const Place&) const = default;
  };
  struct Active;
  using Line = std::map<Place, std::unique_ptr<Active>>;

  void admit();
  int64_t claim(const Active& active) const;
  bool fits(const Active& active);
  std::unique_ptr<SequenceModel::Sequence> begin(const Active& active);
  bool admit_first();
  int64_t rows_of(const Active& active, int64_t most) const;
  void keep(const Active& active);
  void share_out_rows();
  bool reserve(const Place& place, int64_t rows);
  void plan_pass();
  int64_t logit_rows(const Active& active, int64_t rows) const;
  void guess();
  void preempt(Line::iterator victim);
  struct Ending {
    FinishReason reason;
    std::optional<Error> error = {};
  };
  std::optional<Error> score_prompt(Active& active, const SequenceModel::Call& call, const float* logits);
  std::optional<Ending> draw_one(Active& active, const float* logits);
  void draw(Line::iterator at, const float* logits);
  void read(Line::iterator at, const SequenceModel::Call& call, const float* logits);
  void end(Line& line, Line::iterator at, FinishReason reason, std::optional<Error> error = {});

  SequenceModel& model_;
  TokenDraw draw_;
  Clock& clock_;
  SchedulerOptions options_;
  RequestId next_id_ = 1;
  Line waiting_, running_;
  std::vector<Place> cancelled_;
  bool blocked_ = false;  // the first in line found no memory, and nothing has changed since
  // Of the pass that is being made.
  struct Share {
    Place place;
    int64_t rows;
  };
  std::vector<Share> shares_;
  std::vector<SequenceModel::Call> calls_;
  SchedulerCounts counts_;
};

}  // namespace fathom
