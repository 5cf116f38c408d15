#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <string>
#include <utility>

#include "base/check.h"

namespace fathom {

struct Scheduler::Active {
  Request request;
  double arrival = 0;
  std::vector<int32_t> tokens;                        // the prompt and what was drawn
  std::unique_ptr<SequenceModel::Sequence> sequence;  // while it runs
  RequestResult result;
  bool started = false;
  int64_t lost = 0;  // tokens it had read when its memory was taken

  // Rows that are to be read before the next token can be drawn.
  int64_t unread() const {
    return static_cast<int64_t>(tokens.size()) - (sequence ? sequence->position() : 0);
  }
};

Scheduler::Scheduler(SequenceModel& model, Parallel& parallel, Clock& clock, const SchedulerOptions& options)
    : model_(model),
      parallel_(parallel),
      clock_(clock),
      options_(options),
      sampling_workspace_(kernels::sampling_workspace(model.vocab())) {
  FATHOM_CHECK(options.max_sequences > 0 && options.max_sequences <= model.max_rows(),
               "sequences that run at once: from 1 to the rows of a pass");
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
  if (request.max_tokens < 0) return invalid("a negative number of tokens");
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
  active.sequence.reset();
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
    wanted += std::max<int64_t>(0, claim(one) - one.sequence->bytes());
  };
  for (const auto& [place, other] : running_) add(*other);
  add(active);
  return model_.make_room(wanted);
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
  active.sequence = model_.start(active.tokens, active.request.rule);
  while (!fits(active) && !running_.empty()) {  // alone it fits, or submit() had refused it
    if (!may_take()) {
      active.sequence.reset();
      return false;
    }
    preempt(std::prev(running_.end()));
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

// Rows of the next pass: one for everybody who draws, then those of prompts in order while any are left.
void Scheduler::share_out_rows() {
  shares_.clear();
  int64_t left = model_.max_rows();
  for (const bool drawing : {true, false}) {
    for (const auto& [place, active] : running_) {
      const int64_t unread = active->unread();
      if ((unread == 1) != drawing || left == 0) continue;
      shares_.push_back({place, rows_of(*active, left)});
      left -= shares_.back().rows;
    }
  }
}

void Scheduler::plan_pass() {
  share_out_rows();
  // Memory in the order of the line, so that only those behind lose theirs, who have no calls yet.
  std::ranges::sort(shares_, {}, &Share::place);
  std::erase_if(shares_, [&](const Share& share) {
    return !running_.contains(share.place) || !reserve(share.place, share.rows);
  });
  calls_.clear();
  for (const Share& share : shares_) {
    const Active& active = *running_.at(share.place);
    const auto position = static_cast<size_t>(active.sequence->position());
    calls_.push_back({.sequence = active.sequence.get(),
                      .tokens = std::span(active.tokens).subspan(position, static_cast<size_t>(share.rows)),
                      .wants_logits = share.rows == active.unread() && active.request.max_tokens > 0,
                      .rule = active.request.rule});
  }
}

// The log probability is by the logits as they are.
Result<kernels::Sampled> Scheduler::sample(const Active& active, const float* logits) {
  const Request& request = active.request;
  kernels::Sample sample{.logits = logits,
                         .vocab = model_.vocab(),
                         .params = request.sampling,
                         .stream = request.stream,
                         .position = static_cast<uint64_t>(active.tokens.size()),
                         .workspace = sampling_workspace_.as()};
  if (!request.rules.any()) return kernels::sample_cpu(sample, parallel_);
  sample.params = {.temperature = 0};
  FATHOM_ASSIGN(const kernels::Sampled best, kernels::sample_cpu(sample, parallel_));
  changed_logits_.assign(logits, logits + model_.vocab());
  apply_rules(request.rules, active.tokens, static_cast<int64_t>(request.prompt.size()), changed_logits_);
  sample.logits = changed_logits_.data();
  sample.params = request.sampling;
  FATHOM_ASSIGN(kernels::Sampled drawn, kernels::sample_cpu(sample, parallel_));
  drawn.log_probability = logits[drawn.token] - (logits[best.token] - best.log_probability);
  return drawn;
}

namespace {

// The `count` most probable tokens, the lower id first among equals; `drawn` gives the scale.
std::vector<TokenLogProbability> most_probable(const float* logits, int64_t vocab, int32_t count,
                                               const kernels::Sampled& drawn) {
  std::vector<int32_t> ids(static_cast<size_t>(vocab));
  std::iota(ids.begin(), ids.end(), 0);
  const auto middle = ids.begin() + std::min<int64_t>(count, vocab);
  std::partial_sort(ids.begin(), middle, ids.end(), [&](int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  });
  const float scale = logits[drawn.token] - drawn.log_probability;
  std::vector<TokenLogProbability> top;
  for (auto id = ids.begin(); id != middle; ++id)
    top.push_back({*id, *id == drawn.token ? drawn.log_probability : logits[*id] - scale});
  return top;
}

}  // namespace

void Scheduler::draw(Line::iterator at, const float* logits) {
  Active& active = *at->second;
  const Request& request = active.request;
  const Result<kernels::Sampled> drawn = sample(active, logits);
  if (!drawn.ok()) {
    Error error = fathom::at("after " + std::to_string(active.tokens.size()) + " tokens", drawn.error());
    return end(running_, at, FinishReason::kCancelled, std::move(error));
  }
  if (std::ranges::find(request.stop_tokens, drawn->token) != request.stop_tokens.end()) {
    active.result.stop_token = drawn->token;
    return end(running_, at, FinishReason::kStop);
  }
  ++counts_.drawn;
  std::vector<GeneratedToken>& tokens = active.result.tokens;
  if (tokens.empty()) active.result.first_token_seconds = clock_.seconds() - active.arrival;
  tokens.push_back({drawn->token, drawn->log_probability});
  if (request.top_log_probabilities > 0)
    active.result.top.push_back(most_probable(logits, model_.vocab(), request.top_log_probabilities, *drawn));
  active.tokens.push_back(drawn->token);
  if (request.on_token && !request.on_token(tokens.back()))
    return end(running_, at, FinishReason::kCancelled);
  if (static_cast<int64_t>(tokens.size()) == request.max_tokens) end(running_, at, FinishReason::kLength);
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
    const auto at = running_.find(shares_[i].place);
    const Active& active = *at->second;
    const int64_t read = active.sequence->position(), every = model_.keep_every();
    const bool is_prompt =
        active.request.keep_prompt && read == static_cast<int64_t>(active.request.prompt.size()) - 1;
    if ((every > 0 && read % every == 0) || is_prompt) keep(active);
    if (active.unread() > 0) continue;
    if (at->second->request.max_tokens == 0) {
      end(running_, at, FinishReason::kLength);
    } else {
      draw(at, logits[i]);
    }
  }
  return true;
}

}  // namespace fathom
