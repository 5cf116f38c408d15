#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "base/check.h"
#include "base/random.h"

namespace fathom {
namespace {

constexpr int32_t kVocab = 40;
constexpr int32_t kPoison =
    kVocab - 1;  // as the first token of a prompt: after six tokens no logits are finite

// Logits that are a function of all that a sequence has read, or of the last token alone if the first is
// even, which makes texts that repeat themselves. Keeps a log of its passes, and checks what is asked of it.
class FakeModel final : public SequenceModel {
 public:
  FakeModel(int64_t rows, int64_t pages, int64_t context = 64)
      : rows_(rows), pages_(pages), context_(context) {}
  ~FakeModel() override { EXPECT_EQ(used_, 0); }

  static constexpr int64_t kPageTokens = 4, kPageBytes = 10;

  int64_t vocab() const override { return kVocab; }
  int64_t context() const override { return context_; }
  int64_t max_rows() const override { return rows_; }
  int64_t max_logits() const override { return logits > 0 ? logits : rows_; }
  int64_t bytes(int64_t tokens) const override { return pages_for(tokens) * kPageBytes; }
  int64_t budget() const override { return pages_ * kPageBytes; }
  int64_t room() const override { return (pages_ - used_) * kPageBytes; }
  std::unique_ptr<Sequence> start(std::span<const int32_t> tokens, int64_t most_known,
                                  const DepthRule&) override {
    auto sequence = std::make_unique<FakeSequence>(*this);
    // As if another had read a beginning.
    const size_t known = knows == 0
                             ? 0
                             : std::min({tokens.size() - 1, tokens.size() * static_cast<size_t>(knows) / 4,
                                         static_cast<size_t>(most_known)});
    if (known > 0 && sequence->reserve(static_cast<int64_t>(known)))
      sequence->read.assign(tokens.begin(), tokens.begin() + static_cast<int64_t>(known));
    return sequence;
  }
  void keep(const Sequence& sequence, std::span<const int32_t> tokens, const DepthRule&) override {
    EXPECT_TRUE(std::ranges::equal(static_cast<const FakeSequence&>(sequence).read, tokens));
    kept.push_back(static_cast<int64_t>(tokens.size()));
  }
  int64_t keep_every() const override { return every; }
  std::unique_ptr<Saved> save(const Sequence& sequence) override {
    if (!saves) return nullptr;
    auto saved = std::make_unique<FakeSaved>();
    saved->read = static_cast<const FakeSequence&>(sequence).read;
    return saved;
  }
  // Now and then what was saved is gone.
  std::unique_ptr<Sequence> restore(const Saved& saved) override {
    const std::vector<int32_t>& read = static_cast<const FakeSaved&>(saved).read;
    auto sequence = std::make_unique<FakeSequence>(*this);
    if (++restores % 4 == 0 || !sequence->reserve(static_cast<int64_t>(read.size()))) return nullptr;
    sequence->read = read;
    return sequence;
  }

  std::span<const float* const> pass(std::span<const Call> calls) override {
    EXPECT_FALSE(calls.empty());
    logits_.clear();
    results_.clear();
    std::set<const Sequence*> seen;
    int64_t rows = 0, wanted = 0;
    std::string line;
    for (const Call& call : calls) {
      auto& sequence = static_cast<FakeSequence&>(*call.sequence);
      EXPECT_TRUE(seen.insert(&sequence).second);
      EXPECT_FALSE(call.tokens.empty());
      EXPECT_LE(call.logit_rows, static_cast<int64_t>(call.tokens.size()));
      const size_t silent = call.tokens.size() - static_cast<size_t>(call.logit_rows);
      std::vector<float>& found = logits_.emplace_back();
      for (size_t t = 0; t < call.tokens.size(); ++t) {
        sequence.read.push_back(call.tokens[t]);
        if (t < silent) continue;
        const std::vector<float> of_row = logits_of(sequence.read);
        found.insert(found.end(), of_row.begin(), of_row.end());
      }
      wanted += call.logit_rows;
      EXPECT_LE(sequence.position(), sequence.pages * kPageTokens) << "rows without memory";
      EXPECT_LE(sequence.position(), context_);
      rows += static_cast<int64_t>(call.tokens.size());
      line += std::to_string(sequence.read.front()) + ":" + std::to_string(call.tokens.size()) + " ";
    }
    for (const std::vector<float>& found : logits_)
      results_.push_back(found.empty() ? nullptr : found.data());
    EXPECT_LE(rows, rows_);
    EXPECT_LE(wanted, max_logits());
    most_rows = std::max(most_rows, rows);
    log.push_back(line);
    if (clock != nullptr) clock->advance(1);
    return results_;
  }

  static std::vector<float> logits_of(std::span<const int32_t> read) {
    std::vector<float> logits(kVocab);
    const bool repeats = read.front() % 2 == 0;
    uint64_t mixed = repeats ? 0 : read.size();
    for (const int32_t token : repeats ? read.last(1) : read)
      mixed = mixed * 6364136223846793005U + static_cast<uint64_t>(token) + 1;
    for (size_t v = 0; v < logits.size(); ++v) logits[v] = normal(mixed, 3, v);
    if (read.front() == kPoison && read.size() >= 6) logits[7] = std::numeric_limits<float>::quiet_NaN();
    return logits;
  }

  std::vector<std::string> log;  // of each pass: first token and rows of each call
  int64_t most_rows = 0;
  FakeClock* clock = nullptr;  // a pass takes a second
  int64_t knows = 0;           // quarters of every sequence that it starts with
  int64_t every = 0;
  int64_t logits = 0;    // rows with logits of a pass; 0: all
  bool forgets = false;  // sequences go back to their mark, wherever they were to go back to
  bool saves = false;
  int64_t restores = 0;
  int64_t marks = 0;          // that were made and not gone back to
  std::vector<int64_t> kept;  // tokens of what was kept

 private:
  struct FakeSequence final : Sequence {
    explicit FakeSequence(FakeModel& owner) : model(owner) {}
    ~FakeSequence() override { model.used_ -= pages; }
    int64_t position() const override { return static_cast<int64_t>(read.size()); }
    int64_t bytes() const override { return pages * kPageBytes; }
    bool reserve(int64_t rows) override {
      const int64_t more = std::max<int64_t>(0, pages_for(position() + rows) - pages);
      if (model.used_ + more > model.pages_) return false;
      pages += more;
      model.used_ += more;
      return true;
    }
    // A mark takes a page.
    bool mark() override {
      if (model.used_ == model.pages_) return false;
      ++model.used_;
      ++model.marks;
      marked = read.size();
      return true;
    }
    void go_back(int64_t position) override {
      EXPECT_LE(marked, static_cast<size_t>(position));
      EXPECT_LE(position, this->position());
      --model.used_;
      --model.marks;
      const bool all = position == this->position();
      read.resize(model.forgets && !all ? marked : static_cast<size_t>(position));
    }
    FakeModel& model;
    int64_t pages = 0;
    size_t marked = 0;
    std::vector<int32_t> read;
  };
  struct FakeSaved final : Saved {
    std::vector<int32_t> read;
  };
  static int64_t pages_for(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

  int64_t rows_, pages_, context_, used_ = 0;
  std::vector<std::vector<float>> logits_;
  std::vector<const float*> results_;
};

// What a request gets with nobody beside it, by the formula.
std::vector<GeneratedToken> alone(const Request& request, int64_t context) {
  SerialParallel serial;
  std::vector<uint8_t> workspace(static_cast<size_t>(kernels::sampling_workspace(kVocab)));
  std::vector<int32_t> read = request.prompt;
  std::vector<GeneratedToken> out;
  while (static_cast<int64_t>(out.size()) < request.max_tokens &&
         static_cast<int64_t>(read.size()) < context) {
    const std::vector<float> logits = FakeModel::logits_of(read);
    const Result<kernels::Sampled> drawn = kernels::sample_cpu({.logits = logits.data(),
                                                                .vocab = kVocab,
                                                                .params = request.sampling,
                                                                .position = read.size(),
                                                                .workspace = workspace.data()},
                                                               serial);
    if (!drawn.ok()) break;
    if (std::ranges::find(request.stop_tokens, drawn->token) != request.stop_tokens.end()) break;
    out.push_back({drawn->token, drawn->log_probability});
    read.push_back(drawn->token);
  }
  return out;
}

bool same(const GeneratedToken& a, const GeneratedToken& b) {
  return a.token == b.token && a.log_probability == b.log_probability;
}

Request request_of(int32_t first, int64_t prompt, int64_t max_tokens) {
  Request request;
  for (int64_t i = 0; i < prompt; ++i)
    request.prompt.push_back(i == 0 ? first : static_cast<int32_t>(i % 30));
  request.max_tokens = max_tokens;
  request.sampling.seed = static_cast<uint64_t>(first);
  return request;
}

// A scheduler over a fake, and what its requests came to.
struct Bench {
  Bench(int64_t rows, int64_t pages, SchedulerOptions options = {.max_sequences = 4, .reserve_tokens = 4})
      : model(rows, pages), scheduler(model, serial, clock, options) {
    model.clock = &clock;
  }
  RequestId submit(Request request) {
    request.on_end = [this](RequestId id, RequestResult result) {
      EXPECT_TRUE(results.emplace(id, std::move(result)).second) << "ended twice";
    };
    const Result<RequestId> id = scheduler.submit(std::move(request));
    EXPECT_TRUE(id.ok()) << id.error().message;
    return *id;
  }
  void run() {
    for (int64_t steps = 0; scheduler.step(); ++steps) ASSERT_LT(steps, 100000) << "it does not end";
    EXPECT_EQ(scheduler.waiting() + scheduler.running(), 0);
  }

  FakeClock clock;
  FakeModel model;
  SerialParallel serial;
  Scheduler scheduler;
  std::map<RequestId, RequestResult> results;
};

// The log probabilities of the prompt's tokens, all of them or, of a request that was cancelled, the first.
void expect_scores(const Request& request, const RequestResult& result, bool is_gone) {
  const size_t wanted = request.prompt_log_probabilities ? request.prompt.size() - 1 : 0;
  ASSERT_LE(result.prompt.size(), wanted);
  EXPECT_TRUE(is_gone || result.prompt.size() == wanted);
  for (size_t i = 0; i < result.prompt.size(); ++i) {
    const std::vector<float> logits = FakeModel::logits_of(std::span(request.prompt).first(i + 1));
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double{logit});
    const int32_t token = request.prompt[i + 1];
    EXPECT_EQ(result.prompt[i].token, token);
    EXPECT_NEAR(result.prompt[i].log_probability, logits[static_cast<size_t>(token)] - std::log(sum), 1e-5);
  }
}

// Random arrivals, priorities, guesses, lengths, stop tokens and cancellations, in memory that is too small
// for all.
TEST(Scheduler, TextsAreThoseOfTheRequestsAloneUnderAnySchedule) {
  int64_t preemptions = 0, cancelled = 0, stopped = 0, drafted = 0, accepted = 0, restored = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    uint64_t draws = 0;
    const auto below = [&](uint64_t most) {
      return static_cast<int64_t>(philox(seed, 9, draws++)[0] % most);
    };
    const int64_t rows = 4 + below(20), pages = 16 + below(16);
    Bench bench(rows, pages,
                {.max_sequences = 1 + below(static_cast<uint64_t>(rows)), .reserve_tokens = below(9)});
    bench.model.knows = below(4);
    bench.model.every = below(2) * 5;
    bench.model.logits = bench.scheduler.max_sequences() + below(8);
    bench.model.forgets = below(2) == 0;
    bench.model.saves = below(2) == 0;
    std::map<RequestId, Request> asked;
    std::set<RequestId> gone;
    int64_t left = 5 + below(25), steps = 0;
    while (left > 0 || bench.scheduler.waiting() + bench.scheduler.running() > 0) {
      ASSERT_LT(++steps, 20000);
      while (left > 0 && below(3) == 0) {
        Request request = request_of(static_cast<int32_t>(left), 1 + below(30), below(30));
        request.sampling.temperature = below(2) == 0 ? 0.0F : 0.9F;
        request.priority = static_cast<int32_t>(below(3));
        if (below(3) == 0) request.stop_tokens = {static_cast<int32_t>(below(kVocab)), 11};
        request.draft_tokens = below(2) * below(9);
        request.prompt_log_probabilities = below(4) == 0;
        const Request kept = request;
        asked.emplace(bench.submit(std::move(request)), kept);
        --left;
      }
      if (!asked.empty() && below(30) == 0) {
        const auto victim = std::next(asked.begin(), below(asked.size()));
        if (!bench.results.contains(victim->first)) gone.insert(victim->first);
        bench.scheduler.cancel(victim->first);
      }
      bench.scheduler.step();
    }
    ASSERT_EQ(bench.results.size(), asked.size());
    for (const auto& [id, request] : asked) {
      const RequestResult& result = bench.results.at(id);
      const std::vector<GeneratedToken> expected = alone(request, 64);
      EXPECT_FALSE(result.error);
      const bool is_gone = gone.contains(id);
      if (is_gone && result.finish == FinishReason::kCancelled) {
        ASSERT_LE(result.tokens.size(), expected.size());
      } else {
        ASSERT_EQ(result.tokens.size(), expected.size());
        EXPECT_NE(result.finish, FinishReason::kCancelled);
      }
      for (size_t i = 0; i < result.tokens.size(); ++i) EXPECT_TRUE(same(result.tokens[i], expected[i])) << i;
      expect_scores(request, result, is_gone);
      cancelled += result.finish == FinishReason::kCancelled ? 1 : 0;
      stopped += result.finish == FinishReason::kStop ? 1 : 0;
    }
    preemptions += bench.scheduler.counts().preemptions;
    drafted += bench.scheduler.counts().drafted;
    accepted += bench.scheduler.counts().accepted;
    restored += bench.scheduler.counts().restored;
    EXPECT_EQ(bench.model.marks, 0);
  }
  EXPECT_GE(accepted, 1000);
  EXPECT_GE(restored, 1000);
  EXPECT_GE(drafted - accepted, 500);
  EXPECT_GE(preemptions, 500);
  EXPECT_GE(cancelled, 200);
  EXPECT_GE(stopped, 200);
}

TEST(Scheduler, PromptsFillTheRowsThatDrawingLeaves) {
  Bench bench(8, 100);
  bench.submit(request_of(1, 1, 20));
  bench.submit(request_of(2, 10, 2));
  bench.submit(request_of(3, 9, 1));
  bench.run();
  ASSERT_GE(bench.model.log.size(), 4U);
  EXPECT_EQ(bench.model.log[0], "1:1 2:7 ");
  EXPECT_EQ(bench.model.log[1], "1:1 2:3 3:4 ");
  EXPECT_EQ(bench.model.log[2], "1:1 2:1 3:5 ");
  EXPECT_EQ(bench.model.log[3], "1:1 ");
  EXPECT_EQ(bench.scheduler.counts().drawn, 23);
  EXPECT_EQ(bench.scheduler.counts().rows, 20 + 11 + 9);
}

TEST(Scheduler, SequencesAreKeptWhereOthersMayGoOn) {
  Bench bench(16, 100);
  bench.model.every = 5;
  bench.submit(request_of(1, 13, 4));
  bench.run();
  EXPECT_EQ(bench.model.log[0], "1:10 ");
  EXPECT_EQ(bench.model.log[1], "1:3 ");
  EXPECT_EQ(bench.model.kept,
            (std::vector<int64_t>{10, 15, 16}));  // at the end, too: the last token is not read
  bench.model.kept.clear();
  bench.model.every = 0;
  Request first = request_of(2, 13, 2);
  first.keep_prompt = true;
  bench.submit(first);
  bench.run();
  EXPECT_EQ(bench.model.kept.front(), 12);
  bench.model.knows = 4;
  const RequestId second = bench.submit(first);
  bench.run();
  EXPECT_EQ(bench.results.at(second).cached_tokens, 12);
  EXPECT_EQ(bench.scheduler.counts().cached, 12);
}

TEST(Scheduler, NobodyOvertakesWithinAPriority) {
  // The second needs more memory than is left; the third would fit, and waits.
  Bench bench(8, 10, {.max_sequences = 4, .reserve_tokens = 0});
  bench.submit(request_of(1, 20, 8));
  bench.submit(request_of(2, 30, 2));
  bench.submit(request_of(3, 2, 2));
  std::vector<int32_t> firsts;
  bench.run();
  for (const std::string& line : bench.model.log) {
    for (const char first : {'1', '2', '3'}) {
      const bool is_here = line.find(std::string(1, first) + ":") == 0 ||
                           line.find(std::string(" ") + first + ":") != std::string::npos;
      if (is_here && std::ranges::find(firsts, first) == firsts.end()) firsts.push_back(first);
    }
  }
  EXPECT_EQ(firsts, (std::vector<int32_t>{'1', '2', '3'}));
}

TEST(Scheduler, AHigherPriorityTakesTheMemoryOfALowerOne) {
  Bench bench(8, 10, {.max_sequences = 4, .reserve_tokens = 0});
  Request low = request_of(1, 20, 15), high = request_of(2, 20, 3);
  low.priority = 5;
  const std::vector<GeneratedToken> expected = alone(low, 64);
  const RequestId first = bench.submit(low);
  for (int i = 0; i < 6; ++i) bench.scheduler.step();
  const RequestId second = bench.submit(high);
  bench.run();
  EXPECT_EQ(bench.results.at(first).preemptions, 1);
  EXPECT_EQ(bench.results.at(second).preemptions, 0);
  EXPECT_EQ(bench.scheduler.counts().read_again, 23);
  EXPECT_LT(bench.results.at(second).seconds, bench.results.at(first).seconds);
  ASSERT_EQ(bench.results.at(first).tokens.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(same(bench.results.at(first).tokens[i], expected[i]));
}

TEST(Scheduler, WhatIsSavedIsNotReadAgain) {
  Bench bench(8, 10, {.max_sequences = 4, .reserve_tokens = 0});
  bench.model.saves = true;
  Request low = request_of(1, 20, 15), high = request_of(2, 20, 3);
  low.priority = 5;
  const RequestId first = bench.submit(low);
  for (int i = 0; i < 6; ++i) bench.scheduler.step();
  bench.submit(high);
  bench.run();
  EXPECT_EQ(bench.results.at(first).preemptions, 1);
  EXPECT_EQ(bench.scheduler.counts().restored, 23);
  EXPECT_EQ(bench.scheduler.counts().read_again, 0);
  EXPECT_EQ(bench.scheduler.counts().rows, 20 + 14 + 20 + 2);
}

TEST(Scheduler, CancellingTakesEffectBeforeTheNextRow) {
  Bench bench(8, 100, {.max_sequences = 1, .reserve_tokens = 0});
  const RequestId runs = bench.submit(request_of(1, 3, 20)), waits = bench.submit(request_of(2, 3, 20)),
                  last = bench.submit(request_of(3, 3, 2));
  for (int i = 0; i < 4; ++i) bench.scheduler.step();
  bench.scheduler.cancel(runs);
  bench.scheduler.cancel(waits);
  bench.scheduler.cancel(77);  // nobody
  bench.scheduler.step();
  EXPECT_EQ(bench.results.at(runs).tokens.size(), 4U);
  EXPECT_EQ(bench.results.at(waits).tokens.size(), 0U);
  EXPECT_EQ(bench.results.at(waits).finish, FinishReason::kCancelled);
  EXPECT_EQ(bench.model.log.back(), "3:3 ");
  bench.run();
  EXPECT_EQ(bench.results.at(last).tokens.size(), 2U);
}

TEST(Scheduler, ForgettingIsCancellingWithoutAWord) {
  Bench bench(8, 100, {.max_sequences = 1, .reserve_tokens = 0});
  const RequestId runs = bench.submit(request_of(1, 3, 20)), waits = bench.submit(request_of(2, 3, 20)),
                  last = bench.submit(request_of(3, 3, 2));
  bench.scheduler.step();
  bench.scheduler.forget(runs);
  bench.scheduler.forget(waits);
  bench.run();
  EXPECT_EQ(bench.results.size(), 1U);
  EXPECT_EQ(bench.results.at(last).tokens.size(), 2U);
}

TEST(Scheduler, LogitsThatAreNotFiniteEndTheirRequestAlone) {
  Bench bench(8, 100);
  const RequestId bad = bench.submit(request_of(kPoison, 3, 20)), good = bench.submit(request_of(1, 3, 20));
  bench.run();
  ASSERT_TRUE(bench.results.at(bad).error.has_value());
  EXPECT_NE(bench.results.at(bad).error->message.find("after 6 tokens"), std::string::npos)
      << bench.results.at(bad).error->message;
  EXPECT_EQ(bench.results.at(bad).tokens.size(), 3U);
  EXPECT_EQ(bench.results.at(good).tokens.size(), 20U);
  EXPECT_EQ(bench.results.at(good).finish, FinishReason::kLength);
}

TEST(Scheduler, WhatCanNeverBeIsRefused) {
  Bench bench(8, 10);
  const auto refusal = [&](const Request& request) {
    const Result<RequestId> id = bench.scheduler.submit(request);
    return id.ok() ? "accepted" : id.error().message;
  };
  EXPECT_EQ(refusal(Request{}), "the prompt has no tokens");
  EXPECT_EQ(refusal(request_of(kVocab, 2, 2)),
            "the prompt has the id 40, expected ids below the vocabulary of 40");
  EXPECT_EQ(refusal(request_of(1, 64, 1)),
            "the prompt has 64 tokens, which leaves no room in a context of 64");
  EXPECT_EQ(refusal(request_of(1, 30, 12)),
            "a sequence of 41 tokens needs 110 bytes of state, but the memory for states has 100");
  EXPECT_EQ(refusal(request_of(1, 30, 11)), "accepted");
  EXPECT_EQ(refusal(request_of(1, 40, 0)), "accepted");  // the prompt alone
}

TEST(Scheduler, GuessesThatComeTrueCostNoPass) {
  for (const bool forgets : {false, true}) {
    Bench bench(16, 100);
    bench.model.forgets = forgets;
    Request request = request_of(2, 3, 40);
    request.sampling.temperature = 0;
    const RequestId plain = bench.submit(request);
    bench.run();
    const int64_t passes = bench.scheduler.counts().passes;
    EXPECT_EQ(passes, 40);
    request.draft_tokens = 7;
    const RequestId drafted = bench.submit(request);
    bench.run();
    const RequestResult& result = bench.results.at(drafted);
    ASSERT_EQ(result.tokens.size(), 40U);
    for (size_t i = 0; i < 40; ++i) EXPECT_TRUE(same(result.tokens[i], bench.results.at(plain).tokens[i]));
    const int64_t now = bench.scheduler.counts().passes - passes;
    EXPECT_EQ(now, 40 - result.accepted);
    EXPECT_LE(now, 20);
    EXPECT_EQ(bench.scheduler.counts().accepted, result.accepted);
    EXPECT_EQ(bench.scheduler.counts().drafted, result.drafted);
  }
}

// A pass that is full of rows takes no guesses, and guesses take nobody's memory.
TEST(Scheduler, GuessesTakeWhatIsLeft) {
  Bench bench(16, 11, {.max_sequences = 4, .reserve_tokens = 0, .draft_rows = 5});
  Request request = request_of(2, 3, 30);
  request.sampling.temperature = 0;
  request.draft_tokens = 7;
  bench.submit(request);
  Request long_prompt = request_of(4, 12, 1);
  while (bench.scheduler.counts().accepted == 0) bench.scheduler.step();
  EXPECT_LE(bench.model.most_rows, 5);
  bench.submit(long_prompt);
  const int64_t drafted = bench.scheduler.counts().drafted;
  bench.scheduler.step();
  EXPECT_EQ(bench.scheduler.counts().drafted, drafted);
  bench.run();
  EXPECT_EQ(bench.scheduler.counts().preemptions, 0);
}

TEST(Scheduler, PromptsAreScoredInRowsOfLogits) {
  Bench bench(16, 100);
  bench.model.logits = 6;
  bench.model.knows = 4;
  Request request = request_of(1, 13, 2);
  request.prompt_log_probabilities = true;
  request.top_log_probabilities = 2;
  const RequestId id = bench.submit(request);
  bench.run();
  EXPECT_EQ(bench.model.log[0], "1:6 ");  // nothing that others had read, and six rows with logits
  EXPECT_EQ(bench.model.log[1], "1:6 ");
  EXPECT_EQ(bench.model.log[2], "1:1 ");
  expect_scores(request, bench.results.at(id), false);
  ASSERT_EQ(bench.results.at(id).prompt_top.size(), 12U);
  EXPECT_EQ(bench.results.at(id).prompt_top[3].size(), 2U);
  request.max_tokens = 0;
  const RequestId prompt_alone = bench.submit(request);
  bench.run();
  expect_scores(request, bench.results.at(prompt_alone), false);
}

TEST(Scheduler, RulesChangeWhatIsDrawnAndNotItsProbability) {
  Bench bench(8, 100);
  Request plain = request_of(1, 3, 1);
  plain.sampling.temperature = 0;
  plain.top_log_probabilities = 3;
  Request biased = plain;
  const std::vector<float> logits = FakeModel::logits_of(plain.prompt);
  const auto least = static_cast<int32_t>(std::ranges::min_element(logits) - logits.begin());
  biased.rules.bias = {{least, 100.0F}};
  const RequestId first = bench.submit(plain), second = bench.submit(biased);
  bench.run();
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit});
  const auto log_probability = [&](int32_t id) { return logits[static_cast<size_t>(id)] - std::log(sum); };
  for (const RequestId id : {first, second}) {
    const RequestResult& result = bench.results.at(id);
    ASSERT_EQ(result.tokens.size(), 1U);
    ASSERT_EQ(result.top.size(), 1U);
    ASSERT_EQ(result.top[0].size(), 3U);
    EXPECT_NEAR(result.tokens[0].log_probability, log_probability(result.tokens[0].token), 1e-5);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(result.top[0][i].log_probability, log_probability(result.top[0][i].token), 1e-5);
      EXPECT_LE(result.top[0][i].log_probability, result.top[0][i == 0 ? 0 : i - 1].log_probability);
    }
  }
  EXPECT_EQ(bench.results.at(first).tokens[0].token, bench.results.at(first).top[0][0].token);
  EXPECT_EQ(bench.results.at(second).tokens[0].token, least);
}

TEST(Scheduler, StreamsOfOneSeedAreDifferentTexts) {
  Bench bench(8, 100);
  Request one = request_of(1, 3, 10), other = one;
  other.stream = 1;
  const RequestId a = bench.submit(one), b = bench.submit(other), c = bench.submit(one);
  bench.run();
  const auto ids = [&](RequestId id) {
    std::vector<int32_t> out;
    for (const GeneratedToken& token : bench.results.at(id).tokens) out.push_back(token.token);
    return out;
  };
  EXPECT_EQ(ids(a), ids(c));
  EXPECT_NE(ids(a), ids(b));
}

TEST(Scheduler, TextEndsWithTheContext) {
  Bench bench(8, 100);
  const RequestId id = bench.submit(request_of(1, 60, 100));
  bench.run();
  EXPECT_EQ(bench.results.at(id).tokens.size(), 4U);
  EXPECT_EQ(bench.results.at(id).finish, FinishReason::kLength);
}

TEST(Scheduler, WhoWatchesMayEndATextAndAskForMore) {
  Bench bench(8, 100);
  Request request = request_of(1, 3, 20);
  int seen = 0;
  RequestId second = 0;
  request.on_token = [&](const GeneratedToken&) {
    if (++seen == 2) second = bench.submit(request_of(2, 3, 3));
    return seen < 5;
  };
  const RequestId first = bench.submit(request);
  bench.run();
  EXPECT_EQ(bench.results.at(first).tokens.size(), 5U);
  EXPECT_EQ(bench.results.at(first).finish, FinishReason::kCancelled);
  EXPECT_EQ(bench.results.at(second).tokens.size(), 3U);
}

TEST(Scheduler, TimesAreThoseOfTheClock) {
  Bench bench(8, 100, {.max_sequences = 1, .reserve_tokens = 0});
  bench.clock.advance(100);
  const RequestId first = bench.submit(request_of(1, 10, 3)), second = bench.submit(request_of(2, 2, 2));
  bench.run();  // passes of a second: 8 + 2 rows, two more; then the second: two
  EXPECT_EQ(bench.results.at(first).queued_seconds, 0);
  EXPECT_EQ(bench.results.at(first).first_token_seconds, 2);
  EXPECT_EQ(bench.results.at(first).seconds, 4);
  EXPECT_EQ(bench.results.at(second).queued_seconds, 4);
  EXPECT_EQ(bench.results.at(second).first_token_seconds, 5);
  EXPECT_EQ(bench.results.at(second).seconds, 6);
}

TEST(Scheduler, DecisionsFollowFromTheSubmissions) {
  std::vector<std::string> logs[2];
  for (auto& log : logs) {
    Bench bench(11, 20);
    for (int32_t i = 0; i < 12; ++i) {
      Request request = request_of(i, 1 + i % 7 * 3, 5 + i % 5 * 4);
      request.priority = i % 2;
      bench.submit(std::move(request));
      bench.scheduler.step();
    }
    bench.run();
    EXPECT_GT(bench.scheduler.counts().preemptions, 0);
    log = bench.model.log;
  }
  EXPECT_EQ(logs[0], logs[1]);
}

}  // namespace
}  // namespace fathom
