// What a sequence gets does not depend on the others of its calls, on how many rows each of them has there,
// or on what their requests ask for: to the bit, for every model.
#include <cstring>

#include "base/check.h"
#include "engine/executor.h"
#include "kernels/common/testing.h"
#include "tests/parity/tiny_weights.h"

namespace fathom {
namespace {

using testing::TinyModel;

constexpr int64_t kContext = 64, kRows = 48;

// One sequence, and what it gets alone.
struct Member {
  std::vector<int32_t> tokens;
  ForwardOptions options;       // of all its calls, but for what is replayed and which logits are wanted
  std::vector<float> logits;    // [tokens, vocab]
  std::vector<uint8_t> depths;  // [tokens], or empty
  std::vector<float> scores;    // likewise

  std::span<const int32_t> next(int64_t at, int64_t rows) const {
    return std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(rows));
  }
};

void run_alone(const TinyModel& model, const Weights& weights, DType kv_type, Member& member) {
  SerialParallel serial;
  Executor executor(model.plan, weights, kContext, kContext, serial);
  SequenceState state = executor.make_state(kv_type);
  ForwardOptions options = member.options;
  options.logits = Logits::kAll;
  const ForwardResult result = executor.forward(state, member.tokens, options);
  const auto count = static_cast<int64_t>(member.tokens.size());
  member.logits.assign(result.logits, result.logits + count * model.plan.dims.vocab_size);
  member.depths.assign(result.depths.begin(), result.depths.end());
  member.scores.assign(result.scores.begin(), result.scores.end());
}

// Compares what rows [at, at + rows) of the member got.
void compare(const Member& member, int64_t at, int64_t rows, const ForwardOptions& options,
             const ForwardResult& result, int64_t vocab) {
  if (options.logits == Logits::kNone) {
    EXPECT_EQ(result.logits, nullptr);
  } else {
    const int64_t first = options.logits == Logits::kAll ? at : at + rows - 1;
    ASSERT_NE(result.logits, nullptr);
    EXPECT_EQ(std::memcmp(result.logits, member.logits.data() + first * vocab,
                          static_cast<size_t>((at + rows - first) * vocab) * sizeof(float)),
              0)
        << "logits of rows " << first << " to " << at + rows;
  }
  ASSERT_EQ(result.depths.size(), member.depths.empty() ? 0 : static_cast<size_t>(rows));
  for (size_t r = 0; r < result.depths.size(); ++r) {
    const size_t row = static_cast<size_t>(at) + r;
    // Rows that nobody wants may end before the segment that has depths; the last one of a wanted chunk
    // never.
    const bool may_end =
        options.logits == Logits::kNone || (options.logits == Logits::kLast && r + 1 < result.depths.size());
    if (may_end && result.depths[r] == 0) continue;
    EXPECT_EQ(result.depths[r], member.depths[row]) << "row " << row;
    EXPECT_EQ(result.scores[r], member.scores[row]) << "row " << row;
  }
}

// Members of different lengths; in routed models each with rules of its own.
std::vector<Member> members_of(const TinyModel& model, const Weights& weights, DType kv_type) {
  std::vector<Member> members;
  for (const int64_t length : {1, 64, 17, 40, 33, 64}) {
    Member member;
    const auto stream = static_cast<uint64_t>(members.size()) + 20;
    member.tokens = testing::random_tokens(length, model.plan.dims.vocab_size, stream);
    if (is_routed(model.plan) && members.size() == 3) member.options.max_depth = 1;
    if (is_routed(model.plan) && members.size() == 4) member.options.depth_shift = 0.25F;
    run_alone(model, weights, kv_type, member);
    members.push_back(std::move(member));
  }
  return members;
}

// Calls of random members with random numbers of rows until all have read their tokens.
void run_together(const TinyModel& model, const Weights& weights, DType kv_type, std::vector<Member>& members,
                  Parallel& parallel, uint64_t seed) {
  uint64_t draws = 0;
  const auto below = [&](int64_t most) {
    return static_cast<int64_t>(philox(seed, 77, draws++)[0] % static_cast<uint64_t>(most));
  };
  Executor executor(model.plan, weights, kRows, kContext, parallel);
  std::vector<SequenceState> states;
  for (size_t m = 0; m < members.size(); ++m) states.push_back(executor.make_state(kv_type));
  int64_t calls = 0, shared = 0;
  for (;;) {
    std::vector<SequenceCall> call;
    std::vector<size_t> who;
    int64_t room = kRows;
    const size_t first = static_cast<size_t>(below(static_cast<int64_t>(members.size())));
    for (size_t i = 0; i < members.size() && room > 0; ++i) {
      const size_t m = (first + i) % members.size();
      const int64_t left = static_cast<int64_t>(members[m].tokens.size()) - states[m].position();
      if (left == 0 || below(4) == 0) continue;
      // A token as in decoding, or a chunk.
      const int64_t rows = below(2) == 0 ? 1 : 1 + below(std::min(left, room));
      SequenceCall next{&states[m], members[m].next(states[m].position(), rows), members[m].options};
      next.options.logits = static_cast<Logits>(below(3));
      next.options.prefill_shortcut = below(4) != 0;
      if (is_routed(model.plan) && below(4) == 0) {
        next.options.routing = RoutingMode::kReplay;
        next.options.replay_depths =
            std::span(members[m].depths)
                .subspan(static_cast<size_t>(states[m].position()), static_cast<size_t>(rows));
      }
      call.push_back(next);
      who.push_back(m);
      room -= rows;
    }
    if (call.empty()) {
      bool done = true;
      for (size_t m = 0; m < members.size(); ++m)
        done &= states[m].position() == static_cast<int64_t>(members[m].tokens.size());
      if (done) break;
      continue;
    }
    const std::span<const ForwardResult> results = executor.forward(call);
    ASSERT_EQ(results.size(), call.size());
    for (size_t c = 0; c < call.size(); ++c) {
      const auto rows = static_cast<int64_t>(call[c].tokens.size());
      SCOPED_TRACE("call " + std::to_string(calls) + ", member " + std::to_string(who[c]));
      compare(members[who[c]], states[who[c]].position() - rows, rows, call[c].options, results[c],
              model.plan.dims.vocab_size);
    }
    ++calls;
    shared += call.size() > 1 ? 1 : 0;
  }
  EXPECT_GE(shared, 5);
}

void expect_alike(DType type, Parallel& parallel, uint64_t seed) {
  testing::for_each_tiny_model([&](const TinyModel& model) {
    const Weights weights = testing::weights_of(model, type);
    const DType kv_type = testing::kv_type_of(type);
    std::vector<Member> members = members_of(model, weights, kv_type);
    run_together(model, weights, kv_type, members, parallel, seed);
  });
}

TEST(Company, DoesNotChangeABit) {
  ThreadPool pool(2);
  kernels::testing::for_each_level([&] { expect_alike(DType::kBF16, pool, 1); });
  SerialParallel serial;
  expect_alike(DType::kF32, serial, 2);
  expect_alike(DType::kI8, pool, 3);
  expect_alike(DType::kI4, pool, 4);
}

// By the published rule rows of a call compete; those of other sequences are not among them.
TEST(Company, DoesNotCompeteForPasses) {
  SerialParallel serial;
  int routed = 0;
  testing::for_each_tiny_model([&](const TinyModel& model) {
    if (!is_routed(model.plan)) return;
    const Weights weights = testing::weights_of(model, DType::kF32);
    std::vector<Member> members(3);
    for (size_t m = 0; m < members.size(); ++m) {
      members[m].tokens =
          testing::random_tokens(11 + 5 * static_cast<int64_t>(m), model.plan.dims.vocab_size, m);
      members[m].options.routing = m == 1 ? RoutingMode::kThreshold : RoutingMode::kTopK;
      run_alone(model, weights, DType::kF32, members[m]);
    }
    Executor executor(model.plan, weights, kRows, kContext, serial);
    std::vector<SequenceState> states;
    std::vector<SequenceCall> calls;
    for (size_t m = 0; m < members.size(); ++m) states.push_back(executor.make_state(DType::kF32));
    for (size_t m = 0; m < members.size(); ++m) {
      calls.push_back({&states[m], members[m].tokens, members[m].options});
      calls.back().options.logits = m == 0 ? Logits::kLast : Logits::kAll;
    }
    const std::span<const ForwardResult> results = executor.forward(calls);
    for (size_t m = 0; m < members.size(); ++m) {
      SCOPED_TRACE("member " + std::to_string(m));
      compare(members[m], 0, static_cast<int64_t>(members[m].tokens.size()), calls[m].options, results[m],
              model.plan.dims.vocab_size);
    }
    ++routed;
  });
  EXPECT_GE(routed, 15);
}

TEST(Company, OfTheSameSequenceTwiceOrOfNoRowsEndsTheCall) {
  SerialParallel serial;
  int models = 0;
  testing::for_each_tiny_model([&](const TinyModel& model) {
    if (models++ > 0) return;
    const Weights weights = testing::weights_of(model, DType::kF32);
    Executor executor(model.plan, weights, 8, 16, serial);
    SequenceState one = executor.make_state(DType::kF32), two = executor.make_state(DType::kF32);
    const std::vector<int32_t> tokens = testing::random_tokens(5, model.plan.dims.vocab_size, 1);
    const std::span<const int32_t> all = tokens;
    EXPECT_THROW(executor.forward(std::vector<SequenceCall>{{&one, all}, {&two, all}}),
                 CheckFailure);  // 10 rows
    EXPECT_THROW(executor.forward(std::vector<SequenceCall>{{&one, all.first(2)}, {&one, all.last(2)}}),
                 CheckFailure);
    EXPECT_THROW(executor.forward(std::vector<SequenceCall>{{&one, all.first(2)}, {&two, all.first(0)}}),
                 CheckFailure);
    EXPECT_THROW(executor.forward(std::vector<SequenceCall>{}), CheckFailure);
    EXPECT_EQ(executor.forward(std::vector<SequenceCall>{{&one, all.first(2)}, {&two, all.last(3)}}).size(),
              2U);
  });
}

}  // namespace
}  // namespace fathom
