// What a sequence gets does not depend on where its state has its memory: of its own, by pages within a
// budget that others use as well, shared with the sequence that it was forked from, or lost and made again;
// nor on tokens that it had read and went back from. To the bit, for every model.
#include <cstring>

#include "engine/executor_model.h"
#include "kernels/common/testing.h"
#include "tests/parity/tiny_weights.h"

namespace fathom {
namespace {

using testing::TinyModel;

constexpr int64_t kContext = 150, kRows = 40;

// Two texts that begin alike, as prompts of one conversation do.
struct Texts {
  explicit Texts(int64_t vocab) {
    of[0] = testing::random_tokens(kContext, vocab, 5);
    of[1] = testing::random_tokens(kContext, vocab, 6);
    std::copy_n(of[0].begin(), kAlike, of[1].begin());
  }
  static constexpr int64_t kAlike = 90;
  std::vector<int32_t> of[2];
};

std::vector<float> last_logits(const float* logits, int64_t vocab) { return {logits, logits + vocab}; }

// With memory of its own, in one call.
std::vector<float> alone(const TinyModel& model, const Weights& weights, DType kv_type,
                         const std::vector<int32_t>& tokens) {
  SerialParallel serial;
  Executor executor(model.plan, weights, kContext, kContext, serial);
  SequenceState state = executor.make_state(kv_type);
  return last_logits(executor.forward(state, tokens, {}).logits, model.plan.dims.vocab_size);
}

// Reads the text on from where the state stands, in calls of up to kRows rows. None: no room for the next.
std::optional<std::vector<float>> read_on(Executor& executor, SequenceState& state,
                                          const std::vector<int32_t>& text, int64_t to, int64_t vocab) {
  std::vector<float> logits;
  while (state.position() < to) {
    const int64_t rows = std::min(kRows, to - state.position());
    if (!state.reserve(rows)) return {};
    const std::span<const int32_t> next =
        std::span(text).subspan(static_cast<size_t>(state.position()), static_cast<size_t>(rows));
    logits = last_logits(executor.forward(state, next, {}).logits, vocab);
  }
  return logits;
}

void expect_alike(const TinyModel& model, DType type) {
  const Weights weights = testing::weights_of(model, type);
  const DType kv_type = testing::kv_type_of(type);
  const int64_t vocab = model.plan.dims.vocab_size;
  const Texts texts(vocab);
  const std::vector<float> expected[2] = {alone(model, weights, kv_type, texts.of[0]),
                                          alone(model, weights, kv_type, texts.of[1])};
  SerialParallel serial;
  Executor executor(model.plan, weights, kRows, kContext, serial);
  const int64_t whole = state_bytes(model.plan, kContext, kRows, kv_type);

  // One text, and the other as a fork of it.
  const auto memory = std::make_shared<StateMemory>(2 * whole);
  {
    SequenceState trunk = executor.make_state(kv_type, memory);
    ASSERT_TRUE(read_on(executor, trunk, texts.of[0], Texts::kAlike, vocab));
    std::optional<SequenceState> fork = trunk.fork();
    ASSERT_TRUE(fork.has_value());
    // In turn, so that each would see what the other writes.
    for (int64_t to = Texts::kAlike + 7; to <= kContext; to += 7) {
      ASSERT_TRUE(read_on(executor, trunk, texts.of[0], to, vocab));
      ASSERT_TRUE(read_on(executor, *fork, texts.of[1], to, vocab));
    }
    ASSERT_LT(trunk.position(), kContext);
    EXPECT_EQ(read_on(executor, *fork, texts.of[1], kContext, vocab), expected[1]);
    EXPECT_EQ(read_on(executor, trunk, texts.of[0], kContext, vocab), expected[0]);
    EXPECT_LE(memory->most_used(), 2 * whole);
  }
  EXPECT_EQ(memory->used(), 0);

  // Room for one and a bit: once there is none the second is given up, and made again when the first is done.
  const auto tight = std::make_shared<StateMemory>(whole + whole / 4);
  std::optional<SequenceState> first = executor.make_state(kv_type, tight),
                               second = executor.make_state(kv_type, tight);
  for (int64_t to = 10; to < kContext; to += 10) {
    if (!read_on(executor, *first, texts.of[0], to, vocab)) break;
    if (!read_on(executor, *second, texts.of[1], to, vocab)) break;
  }
  // Routed models that hardly use their deeper passes have room for both.
  EXPECT_TRUE(second->position() < kContext - 10 || is_routed(model.plan));
  second.reset();
  EXPECT_EQ(read_on(executor, *first, texts.of[0], kContext, vocab), expected[0]);
  first.reset();
  second = executor.make_state(kv_type, tight);
  EXPECT_EQ(read_on(executor, *second, texts.of[1], kContext, vocab), expected[1]);
}

// Again and again: reads three tokens behind a mark and others that are not the text's, goes back behind the
// three, and reads on.
void expect_way_back(const TinyModel& model, DType type) {
  constexpr int64_t kOwn = 3;
  const Weights weights = testing::weights_of(model, type);
  const DType kv_type = testing::kv_type_of(type);
  const int64_t vocab = model.plan.dims.vocab_size;
  const std::vector<int32_t> text = Texts(vocab).of[0];
  SerialParallel serial;
  Executor executor(model.plan, weights, kRows, kContext, serial);
  const auto memory = std::make_shared<StateMemory>(2 * state_bytes(model.plan, kContext, kRows, kv_type));
  SequenceState state = executor.make_state(kv_type, memory);
  StateMark mark;
  const bool has_recurrences = std::ranges::any_of(
      model.plan.slots, [](const Slot& slot) { return slot.kind == SlotKind::kSsmState; });
  for (int64_t wrong = 0; state.position() + kOwn + wrong <= kContext - kRows; ++wrong) {
    const int64_t at = state.position();
    std::vector<int32_t> guess(text.begin() + at, text.begin() + at + kOwn);
    guess.resize(static_cast<size_t>(kOwn + wrong), 1);
    ASSERT_TRUE(state.reserve(kOwn + wrong) && state.mark(mark));
    executor.forward(state, guess, {});
    state.go_back(mark, at + kOwn);
    const bool all = state.position() == at + kOwn;
    EXPECT_TRUE(all || state.position() == at);
    // Lists of the deeper passes of routed models may have fewer entries.
    EXPECT_TRUE(is_routed(model.plan) || all == (wrong == 0 || !has_recurrences)) << wrong;
    ASSERT_TRUE(read_on(executor, state, text, at + kOwn + wrong % 5 + 1, vocab));
  }
  EXPECT_EQ(read_on(executor, state, text, kContext, vocab), alone(model, weights, kv_type, text));
}

// A mark is whole, or takes nothing.
TEST(Pages, AMarkThatFindsNoRoomKeepsNone) {
  int64_t marked = 0, refused = 0;
  testing::for_each_tiny_model([&](const TinyModel& model) {
    const Weights weights = testing::weights_of(model, DType::kF32);
    SerialParallel serial;
    Executor executor(model.plan, weights, kRows, kContext, serial);
    const int64_t whole = state_bytes(model.plan, kContext, kRows, DType::kF32);
    const std::vector<int32_t> text = Texts(model.plan.dims.vocab_size).of[0];
    for (const int64_t beside : {int64_t{0}, int64_t{5000}, whole}) {
      ExecutorModel sequences(executor, model.plan, kRows, kContext, DType::kF32, whole + beside);
      const std::unique_ptr<SequenceModel::Sequence> sequence = sequences.start(text, 0, {});
      ASSERT_TRUE(sequence->reserve(kContext));
      const int64_t used = sequences.memory().used();
      if (sequence->mark()) {
        ++marked;
        sequence->go_back(0);
      } else {
        ++refused;
      }
      EXPECT_EQ(sequences.memory().used(), used) << beside;
    }
  });
  EXPECT_GE(marked, 40);
  EXPECT_GE(refused, 20);
}

TEST(Pages, DoNotChangeABit) {
  kernels::testing::for_each_level([&] {
    testing::for_each_tiny_model([&](const TinyModel& model) { expect_alike(model, DType::kBF16); });
  });
  testing::for_each_tiny_model([&](const TinyModel& model) {
    expect_alike(model, DType::kF32);
    expect_way_back(model, DType::kF32);
    expect_way_back(model, DType::kBF16);
  });
}

}  // namespace
}  // namespace fathom
