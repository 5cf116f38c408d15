#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "base/check.h"
#include "engine/ngram_draft.h"

namespace fathom {

struct Scheduler::Active {
  Request request;
  double arrival = 0;
  std::vector<int32_t> tokens;  // the prompt and what was drawn, and during a pass what is guessed
  int64_t guessed = 0;          // tokens of the end that are
  DraftLength draft{0};
  std::unique_ptr<SequenceModel::Sequence> sequence;  // while it runs
  RequestResult result;
  std::unique_ptr<SequenceModel::Saved>
      saved;  // while it waits for memory once more, if there is room for it
  bool started = false;
  bool is_drawing = false;  // it has read its prompt since it got its memory
  int64_t lost = 0;         // tokens it had read when its memory was taken

  // Rows that are to be read before the next token can be drawn.
  int64_t unread() const {
    return static_cast<int64_t>(tokens.size()) - guessed - (sequence ? sequence->position() : 0);
  }
  // Tokens of the prompt, from the second on, whose log probabilities are to be told.
  int64_t to_score() const {
    return request.prompt_log_probabilities ? static_cast<int64_t>(request.prompt.size()) - 1 : 0;
  }
  int64_t scored() const { return static_cast<int64_t>(result.prompt.size()); }
};

Scheduler::Scheduler(SequenceModel& model, Parallel& parallel, Clock& clock, const SchedulerOptions& options)
    : model_(model), draw_(model.vocab(), parallel), clock_(clock), options_(options) {
  FATHOM_CHECK(options.max_sequences > 0 && options.max_sequences <= model.max_rows() &&
                   options.max_sequences <= model.max_logits(),
               "sequences that run at once: from 1 to the rows of a pass, and to those with logits");
  FATHOM_CHECK(options.reserve_tokens >= 0, "a negative reserve");
}

Scheduler::~Scheduler() = default;

Result<RequestId> Scheduler::submit(Request request) {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt == 0) return invalid("the prompt has no tokens");
  const auto outside =
      std::ranges::find_if(request.prompt, [&](int32_t id) { return id < 0 || id >= model_.vocab(); });
  if (outside != request.prompt.end()) {
    return invalid("the prompt has the id " + std::to_string(*outside) +
                   ", expected ids below the vocabulary of " + std::to_string(model_.vocab()));
  }
  if (request.max_tokens < 0 || request.draft_tokens < 0) return invalid("a negative number of tokens");
  for (const auto& [id, bias] : request.rules.bias) {
    if (id < 0 || id >= model_.vocab())
      return invalid("a bias of the id " + std::to_string(id) + ", expected ids below the vocabulary of " +
                     std::to_string(model_.vocab()));
  }
  const int64_t room = model_.context() - prompt;
  if (room < 0 || (room == 0 && request.max_tokens > 0)) {
    return invalid("the prompt has " + std::to_string(prompt) +
                   " tokens, which leaves no room in a context of " + std::to_string(model_.context()));
  }
  request.max_tokens = std::min(request.max_tokens, room);
  // The last token that is drawn is not read.
  const int64_t longest = prompt + std::max<int64_t>(0, request.max_tokens - 1);
  if (const int64_t bytes = model_.bytes(longest); bytes > model_.budget()) {
    return invalid("a sequence of " + std::to_string(longest) + " tokens needs " + std::to_string(bytes) +
                   " bytes of state, but the memory for states has " + std::to_string(model_.budget()));
  }
  auto active = std::make_unique<Active>();
  active->arrival = clock_.seconds();
  active->tokens = request.prompt;
  active->draft = DraftLength(request.draft_tokens);
  active->request = std::move(request);
  const RequestId id = next_id_++;
  waiting_.emplace(Place{active->request.priority, id}, std::move(active));
  blocked_ = false;
  return id;
}

void Scheduler::cancel(RequestId id) {
  for (const Line* line : {&waiting_, &running_}) {
    for (const auto& [place, active] : *line) {
      if (place.id == id) cancelled_.push_back(place);
    }
  }
}

void Scheduler::forget(RequestId id) {
  for (Line* line : {&waiting_, &running_})
    std::erase_if(*line, [id](const auto& entry) { return entry.first.id == id; });
  blocked_ = false;
}

void Scheduler::end(Line& line, Line::iterator at, FinishReason reason, std::optional<Error> error) {
  const RequestId id = at->first.id;
  const std::unique_ptr<Active> active = std::move(at->second);
  line.erase(at);
  if (active->sequence && !error) keep(*active);
  active->sequence.reset();
  blocked_ = false;
  RequestResult& result = active->result;
  result.finish = reason;
  result.error = std::move(error);
  result.seconds = clock_.seconds() - active->arrival;
  if (active->request.on_end) active->request.on_end(id, std::move(result));
}

void Scheduler::preempt(Line::iterator victim) {
  Active& active = *victim->second;
  active.lost = active.sequence->position();
  if (active.lost > 0) active.saved = model_.save(*active.sequence);
  active.sequence.reset();
  active.is_drawing = false;
  ++active.result.preemptions;
  ++counts_.preemptions;
  waiting_.insert(running_.extract(victim));
  blocked_ = false;
}

// Bytes that are promised to a request: for what it reads, and a reserve, but no more than it can come to.
int64_t Scheduler::claim(const Active& active) const {
  const auto read = static_cast<int64_t>(active.tokens.size());
  const auto longest = static_cast<int64_t>(active.request.prompt.size()) + active.request.max_tokens;
  return model_.bytes(std::min(read + options_.reserve_tokens, longest));
}

// Whether what is promised to all that run, and to one that has started but does not yet, is there.
bool Scheduler::fits(const Active& active) {
  int64_t wanted = 0;
  const auto add = [&](const Active& one) {
    wanted += std::max<int64_t>(0, claim(one) - (one.sequence ? one.sequence->bytes() : 0));
  };
  for (const auto& [place, other] : running_) add(*other);
  add(active);
  return model_.make_room(wanted);
}

// What a request begins with: nothing, or what others have read of it.
std::unique_ptr<SequenceModel::Sequence> Scheduler::begin(const Active& active) {
  // What is told of the prompt comes from reading it.
  const bool scores = active.scored() < active.to_score();
  return model_.start(active.tokens, scores ? active.scored() : static_cast<int64_t>(active.tokens.size()),
                      active.request.rule);
}

// The first in line, if there is memory for it, or those of lower priority give theirs.
bool Scheduler::admit_first() {
  const auto first = waiting_.begin();
  Active& active = *first->second;
  const auto may_take = [&] {
    return !running_.empty() && std::prev(running_.end())->first.priority > active.request.priority;
  };
  while (static_cast<int64_t>(running_.size()) >= options_.max_sequences) {
    if (!may_take()) return false;
    preempt(std::prev(running_.end()));
  }
  if (!active.saved) active.sequence = begin(active);
  while (!fits(active) && !running_.empty()) {  // alone it fits, or submit() had refused it
    if (!may_take()) {
      active.sequence.reset();
      return false;
    }
    preempt(std::prev(running_.end()));
  }
  if (active.saved) {
    active.sequence = model_.restore(*std::exchange(active.saved, nullptr));
    if (active.sequence) counts_.restored += active.sequence->position();
    if (!active.sequence) active.sequence = begin(active);
  }
  const int64_t read = active.sequence->position();
  if (!active.started) {
    active.result.queued_seconds = clock_.seconds() - active.arrival;
    active.result.cached_tokens = read;
    counts_.cached += read;
  }
  active.started = true;
  counts_.read_again += std::max<int64_t>(0, std::exchange(active.lost, 0) - read);
  running_.insert(waiting_.extract(first));
  return true;
}

void Scheduler::admit() {
  while (!waiting_.empty() && !blocked_) blocked_ = !admit_first();
}

// Memory for the next rows of a running request, if need be from the last ones. False: it was the last
// itself, and waits.
bool Scheduler::reserve(const Place& place, int64_t rows) {
  for (;;) {
    const auto at = running_.find(place);
    if (at->second->sequence->reserve(rows)) return true;
    const auto last = std::prev(running_.end());
    FATHOM_CHECK(running_.size() > 1, "a sequence that fits alone finds no memory");
    const bool itself = last == at;
    preempt(last);
    if (itself) return false;
  }
}

// Rows of one in the next pass, of `most` that are left: up to the last place where others may want to go on.
int64_t Scheduler::rows_of(const Active& active, int64_t most) const {
  const int64_t rows = std::min(active.unread(), most), from = active.sequence->position();
  const auto prompt = static_cast<int64_t>(active.request.prompt.size());
  if (active.request.keep_prompt && from < prompt - 1 && from + rows >= prompt) return prompt - 1 - from;
  const int64_t every = model_.keep_every();
  if (every == 0) return rows;
  const int64_t end = (from + rows) / every * every;
  return end > from ? end - from : rows;
}

void Scheduler::keep(const Active& active) {
  const auto read = static_cast<size_t>(active.sequence->position());
  if (read > 0) model_.keep(*active.sequence, std::span(active.tokens).first(read), active.request.rule);
}

// Of the last rows of a call of `rows` the logits are wanted: of the last of all for the next token, and of
// those before tokens of the prompt that are to be scored.
int64_t Scheduler::logit_rows(const Active& active, int64_t rows) const {
  const int64_t from = active.sequence->position(), to = from + rows;
  const bool draws = rows == active.unread() && active.request.max_tokens > 0;
  const int64_t first = std::max(from, active.scored());  // row p is before token p + 1
  if (first < std::min(to, active.to_score())) return to - first;
  return draws ? 1 : 0;
}

// Rows of the next pass: what everybody who draws has not read, which is one after all that was guessed came
// true, then those of prompts in order while any are left.
void Scheduler::share_out_rows() {
  shares_.clear();
  int64_t left = model_.max_rows(), logits_left = model_.max_logits() - running();
  for (const bool drawing : {true, false}) {
    for (const auto& [place, active] : running_) {
      if (active->is_drawing != drawing || left == 0) continue;
      int64_t most = left;
      if (active->scored() < active->to_score()) most = std::min(most, logits_left + 1);
      shares_.push_back({place, rows_of(*active, most)});
      left -= shares_.back().rows;
      logits_left -= std::max<int64_t>(0, logit_rows(*active, shares_.back().rows) - 1);
    }
  }
}

// Guesses for those who draw, of rows and memory that nobody needs.
void Scheduler::guess() {
  int64_t rows = 0, logits = 0;
  for (const Share& share : shares_) {
    rows += share.rows;
    logits += logit_rows(*running_.at(share.place), share.rows);
  }
  int64_t left =
      std::min({options_.draft_rows - rows, model_.max_rows() - rows, model_.max_logits() - logits});
  for (Share& share : shares_) {
    Active& active = *running_.at(share.place);
    if (!active.is_drawing || share.rows != active.unread() || active.request.draft_tokens == 0) continue;
    // The last token of a text is not read, and no text goes beyond the context.
    const int64_t to_draw = active.request.max_tokens - static_cast<int64_t>(active.result.tokens.size()),
                  most = std::min({left, active.draft.next(), to_draw - 1,
                                   model_.context() - static_cast<int64_t>(active.tokens.size())});
    if (most <= 0) continue;
    const int64_t count = append_ngram_draft(active.tokens, most);
    if (count == 0) continue;
    if (!active.sequence->reserve(share.rows + count) || !active.sequence->mark()) {
      active.tokens.resize(active.tokens.size() - static_cast<size_t>(count));
      continue;
    }
    active.guessed = count;
    share.rows += count;
    left -= count;
  }
}

void Scheduler::plan_pass() {
  share_out_rows();
  // Memory in the order of the line, so that only those behind lose theirs, who have no calls yet.
  std::ranges::sort(shares_, {}, &Share::place);
  std::erase_if(shares_, [&](const Share& share) {
    return !running_.contains(share.place) || !reserve(share.place, share.rows);
  });
  guess();
  calls_.clear();
  for (const Share& share : shares_) {
    const Active& active = *running_.at(share.place);
    const auto position = static_cast<size_t>(active.sequence->position());
    calls_.push_back({.sequence = active.sequence.get(),
                      .tokens = std::span(active.tokens).subspan(position, static_cast<size_t>(share.rows)),
                      .logit_rows = logit_rows(active, share.rows - active.guessed) + active.guessed,
                      .rule = active.request.rule});
  }
}

// Log probabilities of the prompt's tokens that follow the call's rows.
std::optional<Error> Scheduler::score_prompt(Active& active, const SequenceModel::Call& call,
                                             const float* logits) {
  const int64_t end = active.sequence->position(), first = end - call.logit_rows;
  for (int64_t row = std::max(first, active.scored()); row < std::min(end, active.to_score()); ++row) {
    const float* const of_row = logits + (row - first) * model_.vocab();
    const Result<GeneratedToken> token =
        draw_.given(active.request.prompt[static_cast<size_t>(row) + 1], of_row);
    if (!token.ok()) return at("after " + std::to_string(row + 1) + " tokens", token.error());
    active.result.prompt.push_back(*token);
    if (const int32_t count = active.request.top_log_probabilities; count > 0)
      active.result.prompt_top.push_back(draw_.most_probable(of_row, count, *token));
  }
  return {};
}

// The next token. What ends the text, if anything does.
std::optional<Scheduler::Ending> Scheduler::draw_one(Active& active, const float* logits) {
  const Request& request = active.request;
  const Result<GeneratedToken> drawn = draw_.next(request, active.tokens, logits);
  if (!drawn.ok()) {
    return Ending{FinishReason::kCancelled,
                  at("after " + std::to_string(active.tokens.size()) + " tokens", drawn.error())};
  }
  if (std::ranges::find(request.stop_tokens, drawn->token) != request.stop_tokens.end()) {
    active.result.stop_token = drawn->token;
    return Ending{FinishReason::kStop};
  }
  ++counts_.drawn;
  std::vector<GeneratedToken>& tokens = active.result.tokens;
  if (tokens.empty()) active.result.first_token_seconds = clock_.seconds() - active.arrival;
  tokens.push_back(*drawn);
  if (request.top_log_probabilities > 0)
    active.result.top.push_back(draw_.most_probable(logits, request.top_log_probabilities, *drawn));
  active.tokens.push_back(drawn->token);
  if (request.on_token && !request.on_token(tokens.back())) return Ending{FinishReason::kCancelled};
  if (static_cast<int64_t>(tokens.size()) == request.max_tokens) return Ending{FinishReason::kLength};
  return {};
}

// The next tokens, as long as they are those that were guessed, and one more.
void Scheduler::draw(Line::iterator at, const float* logits) {
  Active& active = *at->second;
  const int64_t guessed = std::exchange(active.guessed, 0);
  const std::vector<int32_t> guesses(active.tokens.end() - guessed, active.tokens.end());
  active.tokens.resize(active.tokens.size() - guesses.size());
  const auto before = static_cast<int64_t>(active.tokens.size());
  int64_t accepted = 0;
  std::optional<Ending> ending;
  for (;; ++accepted, logits += model_.vocab()) {
    ending = draw_one(active, logits);
    if (ending || accepted == guessed || active.tokens.back() != guesses[static_cast<size_t>(accepted)])
      break;
  }
  if (guessed > 0) {
    active.sequence->go_back(before + accepted);
    active.draft.note(guessed, accepted);
    active.result.drafted += guessed;
    active.result.accepted += accepted;
    counts_.drafted += guessed;
    counts_.accepted += accepted;
  }
  if (ending) end(running_, at, ending->reason, std::move(ending->error));
}

// What a call made of its request.
void Scheduler::read(Line::iterator at, const SequenceModel::Call& call, const float* logits) {
  Active& active = *at->second;
  const int64_t read = active.sequence->position(), every = model_.keep_every();
  const bool is_prompt =
      active.request.keep_prompt && read == static_cast<int64_t>(active.request.prompt.size()) - 1;
  if (active.guessed == 0 && ((every > 0 && read % every == 0) || is_prompt)) keep(active);
  if (std::optional<Error> error = score_prompt(active, call, logits))
    return end(running_, at, FinishReason::kCancelled, std::move(error));
  if (active.unread() > 0) return;
  active.is_drawing = true;
  if (active.request.max_tokens == 0) return end(running_, at, FinishReason::kLength);
  draw(at, logits + (call.logit_rows - 1 - active.guessed) * model_.vocab());
}

bool Scheduler::step() {
  for (const Place& place : std::exchange(cancelled_, {})) {
    for (Line* line : {&waiting_, &running_}) {
      if (const auto at = line->find(place); at != line->end()) end(*line, at, FinishReason::kCancelled);
    }
  }
  admit();
  if (running_.empty()) return false;
  plan_pass();
  const std::span<const float* const> logits = model_.pass(calls_);
  ++counts_.passes;
  for (size_t i = 0; i < calls_.size(); ++i) {
    counts_.rows += static_cast<int64_t>(calls_[i].tokens.size());
    read(running_.find(shares_[i].place), calls_[i], logits[i]);
  }
  return true;
}

}  // namespace fathom
