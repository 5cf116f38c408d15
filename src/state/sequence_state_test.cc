#include "state/sequence_state.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/check.h"
#include "base/half.h"
#include "base/random.h"
#include "plan/count.h"
#include "plan/spec_io.h"

namespace fathom {
namespace {

Slot window_slot(int64_t window) {
  Slot slot;
  slot.kind = window > 0 ? SlotKind::kWindowKv : SlotKind::kKv;
  slot.num_kv_heads = 2;
  slot.head_dim = 4;
  slot.window = window;
  return slot;
}

// A cache with pages for all of its capacity, of a memory that the test does not run out of.
KvState whole(const Slot& slot, int64_t capacity, int64_t max_rows, DType type) {
  static StateMemory memory(int64_t{1} << 30);
  KvState state(slot, capacity, max_rows, type);
  EXPECT_TRUE(state.hold(capacity, memory));
  return state;
}

Slot ssm_slot() {
  Slot slot;
  slot.kind = SlotKind::kSsmState;
  slot.inner = 6;
  slot.state = 4;
  slot.conv = 4;
  slot.channels = 10;
  return slot;
}

std::vector<float> entries(int64_t first, int64_t rows, uint64_t stream) {
  std::vector<float> out;
  for (int64_t i = first * 8; i < (first + rows) * 8; ++i)
    out.push_back(normal(1, stream, static_cast<uint64_t>(i)));
  return out;
}

// Appends [0, total) in calls of at most max_rows rows.
void fill(KvState& state, int64_t total, int64_t max_rows) {
  for (int64_t at = 0; at < total; at += max_rows) {
    const int64_t rows = std::min(max_rows, total - at);
    state.append(entries(at, rows, 1).data(), entries(at, rows, 2).data(), rows);
  }
}

TEST(KvState, TheWindowIsStillHeldAfterEveryAppend) {
  for (int64_t window : {1, 5, 63, 64, 65, 128, 200}) {
    for (int64_t rows : {1, 7, 64, 100}) {
      KvState state = whole(window_slot(window), 1000, rows, DType::kF32);
      for (int64_t at = 0; at + rows <= 600; at += rows) {
        state.append(entries(at, rows, 1).data(), entries(at, rows, 2).data(), rows);
        // What the first row of this call sees: itself and window - 1 before it.
        for (int64_t i = std::max<int64_t>(0, at - window + 1); i < at + rows; ++i) {
          std::vector<float> k(8), v(8);
          state.read(i, k.data(), v.data());
          ASSERT_EQ(k, entries(i, 1, 1)) << "window " << window << " rows " << rows << " entry " << i;
          ASSERT_EQ(v, entries(i, 1, 2));
        }
      }
    }
  }
}

TEST(KvState, ARingIsSmallerThanTheContext) {
  const KvState ring = whole(window_slot(64), 32768, 64, DType::kF32),
                full = whole(window_slot(0), 32768, 64, DType::kF32);
  EXPECT_LE(ring.bytes() * 100, full.bytes());
}

TEST(KvState, Bf16RoundsToNearest) {
  KvState state = whole(window_slot(0), 10, 3, DType::kBF16);
  fill(state, 3, 3);
  std::vector<float> k(8), v(8);
  state.read(2, k.data(), v.data());
  const std::vector<float> exact = entries(2, 1, 1);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(k[i], round_to_bfloat16(exact[i]));
}

// Whatever the layout: panels of 32 dimensions and of all, pairs, rows where there are none; block borders;
// an entry put again; entries of another cache; saved and restored.
TEST(KvState, EntriesComeBackFromEveryLayout) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    for (const int64_t head_dim : {5, 6, 64, 96}) {
      Slot slot = window_slot(0);
      slot.head_dim = head_dim;
      const auto elements = static_cast<size_t>(2 * head_dim);
      const auto entry = [&](int64_t i, uint64_t stream) {
        std::vector<float> out(elements);
        for (size_t d = 0; d < elements; ++d) {
          const float value = normal(2, stream, static_cast<uint64_t>(i) * elements + d);
          out[d] = type == DType::kBF16 ? round_to_bfloat16(value) : value;
        }
        return out;
      };
      KvState state = whole(slot, 200, 130, type), behind = whole(slot, 200, 130, type),
              restored = whole(slot, 200, 130, type);
      std::vector<float> k, v;
      for (int64_t i = 0; i < 130; ++i) {
        for (const float x : entry(i, 1)) k.push_back(x);
        for (const float x : entry(i, 2)) v.push_back(x);
      }
      state.append(k.data(), v.data(), 130);
      const int32_t again = 70;
      state.replace(entry(500, 1).data(), entry(500, 2).data(), &again, 1);
      behind.append(k.data(), v.data(), 40);
      behind.append_missing(state);
      const std::vector<uint8_t> keys = state.saved(false), values = state.saved(true);
      restored.restore(130, keys.data(), values.data());
      for (const KvState* one : {&state, &behind, &restored}) {
        for (int64_t i = 0; i < 130; ++i) {
          std::vector<float> found_k(elements), found_v(elements);
          one->read(i, found_k.data(), found_v.data());
          ASSERT_EQ(found_k, entry(i == again ? 500 : i, 1)) << head_dim << " entry " << i;
          ASSERT_EQ(found_v, entry(i == again ? 500 : i, 2)) << head_dim << " entry " << i;
        }
      }
      if (type == DType::kF32) {
        std::vector<uint8_t> rows(k.size() * sizeof(float));
        std::memcpy(k.data() + again * elements, entry(500, 1).data(), elements * sizeof(float));
        std::memcpy(rows.data(), k.data(), rows.size());
        EXPECT_EQ(keys, rows) << "what is saved is rows";
      }
    }
  }
}

TEST(KvState, OneEntryTooManyIsRefused) {
  KvState state = whole(window_slot(0), 10, 16, DType::kF32);
  EXPECT_THROW(fill(state, 11, 11), CheckFailure);
}

// What is allocated, what state_bytes() says before, and what the plan's figures add up to, with full caches
// and rings in whole blocks.
TEST(SequenceState, TakesTheBytesThatThePlanCounts) {
  using kernels::kKeyBlock;
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FATHOM_SOURCE_DIR "/configs/models/tiny")) {
    SCOPED_TRACE(entry.path().stem().string());
    const ModelPlan plan = *build_plan(*load_spec(entry.path().string()));
    for (const DType type : {DType::kF32, DType::kBF16}) {
      for (const auto& [context, rows] : {std::pair<int64_t, int64_t>{1, 1}, {300, 64}, {512, 512}}) {
        const int64_t bytes = SequenceState(plan, context, rows, type).bytes();
        EXPECT_EQ(bytes, state_bytes(plan, context, rows, type));
        const StateBytes counted = count_state(plan, type);
        int64_t rings = 0;  // bytes of an entry of every ring
        for (const Slot& slot : plan.slots) {
          if (slot.kind == SlotKind::kWindowKv)
            rings += slot.copies * 2 * slot.num_kv_heads * slot.head_dim * size_of(type);
        }
        EXPECT_GE(bytes, counted.per_token_most * context + (rings == 0 ? counted.per_sequence : 0));
        // A block more of each full cache at most; of each ring the rows of a call and two blocks.
        EXPECT_LT(bytes, counted.per_token_most * (context + kKeyBlock) + counted.per_sequence +
                             rings * (rows + 2 * kKeyBlock) + 1);
      }
    }
    ++models;
  }
  EXPECT_GE(models, 40);
}

TEST(SequenceState, SlotsOfEveryDepthAreApart) {
  ModelPlan plan;
  plan.slots = {window_slot(0), ssm_slot(), window_slot(5)};
  plan.slots[0].copies = 3;
  SequenceState state(plan, 100, 8, DType::kF32);
  fill(state.kv(0, 1), 4, 4);
  EXPECT_EQ(state.kv(0, 0).length(), 0);
  EXPECT_EQ(state.kv(0, 1).length(), 4);
  EXPECT_EQ(state.kv(0, 2).length(), 0);
  EXPECT_EQ(state.kv(2, 0).length(), 0);
  EXPECT_EQ(state.ssm(1, 0).ssm()[0], 0.0F);
}

TEST(SequenceState, WhereASegmentBeginsIsCopiedAndForgotten) {
  ModelPlan plan;
  plan.slots = {ssm_slot()};
  SequenceState a(plan, 100, 8, DType::kF32), b(plan, 100, 8, DType::kF32);
  a.begin_at(40);
  a.advance(3);
  b.copy_from(a);
  EXPECT_EQ(b.first_position(), 40);
  EXPECT_EQ(b.position(), 3);
  b.reset();
  EXPECT_EQ(b.first_position(), 0);
}

TEST(SequenceState, ACopyIsExactAndIndependent) {
  ModelPlan plan;
  plan.slots = {window_slot(0), ssm_slot(), window_slot(5)};
  SequenceState a(plan, 300, 8, DType::kF32), b(plan, 300, 8, DType::kF32);
  fill(a.kv(0, 0), 130, 8);
  fill(a.kv(2, 0), 130, 8);
  a.ssm(1, 0).ssm()[5] = 3;
  a.advance(130);
  b.copy_from(a);
  fill(a.kv(0, 0), 8, 8);
  a.ssm(1, 0).ssm()[5] = 4;
  EXPECT_EQ(b.position(), 130);
  EXPECT_EQ(b.kv(0, 0).length(), 130);
  EXPECT_EQ(b.ssm(1, 0).ssm()[5], 3.0F);
  std::vector<float> k(8), v(8);
  for (int64_t i : {0, 64, 129}) {
    b.kv(0, 0).read(i, k.data(), v.data());
    EXPECT_EQ(k, entries(i, 1, 1));
  }
  b.kv(2, 0).read(127, k.data(), v.data());
  EXPECT_EQ(v, entries(127, 1, 2));
}

// A plan with a full cache at two depths, a recurrence and a ring, and memory for `pages` pages of them.
struct Paged {
  explicit Paged(int64_t budget) : memory(std::make_shared<StateMemory>(budget)) {
    plan.slots = {window_slot(0), ssm_slot(), window_slot(100)};
    plan.slots[0].copies = 2;
  }
  SequenceState state() { return SequenceState(plan, 1000, 8, DType::kF32, memory); }
  // Pages for the tokens, then the tokens: the second depth has every other one.
  static bool grow(SequenceState& state, int64_t to) {
    for (int64_t at = state.position(); at < to;) {
      const int64_t rows = std::min<int64_t>(8, to - at);
      if (!state.reserve(rows)) return false;
      state.kv(0, 0).append(entries(at, rows, 1).data(), entries(at, rows, 2).data(), rows);
      if (at / 8 % 2 == 0)
        state.kv(0, 1).append(entries(at, rows, 1).data(), entries(at, rows, 2).data(), rows);
      state.kv(2, 0).append(entries(at, rows, 1).data(), entries(at, rows, 2).data(), rows);
      state.ssm(1, 0).ssm()[3] = static_cast<float>(at);
      state.advance(rows);
      at += rows;
    }
    return true;
  }
  static void expect_holds(const SequenceState& state, int64_t from, int64_t to) {
    std::vector<float> k(8), v(8);
    for (int64_t i = from; i < to; ++i) {
      for (const SlotId slot : {0, 2}) {
        state.kv(slot, 0).read(i, k.data(), v.data());
        ASSERT_EQ(k, entries(i, 1, 1)) << i;
        ASSERT_EQ(v, entries(i, 1, 2)) << i;
      }
    }
  }
  static constexpr int64_t kPage = 2 * 64 * 8 * 4, kSsm = (30 + 24) * 4;
  ModelPlan plan;
  std::shared_ptr<StateMemory> memory;
};

TEST(SequenceState, TakesPagesAsItGrows) {
  Paged paged(1 << 20);
  SequenceState state = paged.state();
  EXPECT_EQ(state.bytes(), 0);
  ASSERT_TRUE(Paged::grow(state, 1));
  EXPECT_EQ(state.bytes(), 3 * Paged::kPage + Paged::kSsm);
  ASSERT_TRUE(Paged::grow(state, 64));
  EXPECT_EQ(state.bytes(), 3 * Paged::kPage + Paged::kSsm);
  ASSERT_TRUE(Paged::grow(state, 65));
  EXPECT_EQ(state.bytes(), 5 * Paged::kPage + Paged::kSsm);
  ASSERT_TRUE(Paged::grow(state, 1000));
  // The ring: 99 entries before a call's first row, and its 8 rows, wherever they begin.
  EXPECT_EQ(state.bytes(), (16 + 8 + 3) * Paged::kPage + Paged::kSsm);
  EXPECT_EQ(paged.memory->used(), state.bytes());
  Paged::expect_holds(state, 901, 1000);
}

TEST(SequenceState, WithoutRoomNothingChanges) {
  Paged paged(7 * Paged::kPage + 2 * Paged::kSsm);
  SequenceState first = paged.state(), second = paged.state();
  ASSERT_TRUE(Paged::grow(first, 64));
  ASSERT_TRUE(Paged::grow(second, 60));
  EXPECT_FALSE(first.reserve(1));  // a page for the cache, none for the ring
  EXPECT_EQ(first.bytes(), 3 * Paged::kPage + Paged::kSsm);
  EXPECT_EQ(paged.memory->used(), 6 * Paged::kPage + 2 * Paged::kSsm);
  EXPECT_EQ(first.position(), 64);
  SequenceState third = paged.state();
  EXPECT_FALSE(third.reserve(1));
  EXPECT_EQ(third.bytes(), 0);
  EXPECT_TRUE(Paged::grow(second, 64));
  { const SequenceState gone = std::move(second); }
  EXPECT_TRUE(Paged::grow(first, 65));
  Paged::expect_holds(first, 0, 65);
}

TEST(SequenceState, RowsWithoutPagesAreRefused) {
  Paged paged(1 << 20);
  SequenceState state = paged.state();
  EXPECT_THROW(fill(state.kv(0, 0), 1, 1), CheckFailure);
  EXPECT_THROW(state.ssm(1, 0).ssm(), CheckFailure);
}

TEST(SequenceState, AForkSharesFullPagesAndNothingElse) {
  Paged paged(1 << 20);
  SequenceState trunk = paged.state();
  ASSERT_TRUE(Paged::grow(trunk, 200));
  const int64_t before = paged.memory->used();
  std::optional<SequenceState> fork = trunk.fork();
  ASSERT_TRUE(fork.has_value());
  EXPECT_EQ(fork->position(), 200);
  // Copied: the last page of each depth, the ring's three, the recurrence.
  EXPECT_EQ(paged.memory->used() - before, 5 * Paged::kPage + Paged::kSsm);
  ASSERT_TRUE(Paged::grow(*fork, 300));
  trunk.ssm(1, 0).ssm()[3] = -1;
  EXPECT_EQ(fork->ssm(1, 0).ssm()[3], 296.0F);
  EXPECT_EQ(trunk.kv(0, 0).length(), 200);
  Paged::expect_holds(trunk, 101, 200);
  ASSERT_TRUE(Paged::grow(trunk, 264));
  Paged::expect_holds(trunk, 165, 264);
  { const SequenceState gone = std::move(trunk); }
  Paged::expect_holds(*fork, 201, 300);
  std::vector<float> k(8), v(8);
  fork->kv(0, 0).read(70, k.data(), v.data());
  EXPECT_EQ(k, entries(70, 1, 1));
  EXPECT_EQ(paged.memory->used(), fork->bytes());
  fork.reset();
  EXPECT_EQ(paged.memory->used(), 0);
}

TEST(SequenceState, AForkWithoutRoomLeavesEverythingAsItWas) {
  Paged paged(12 * Paged::kPage + 2 * Paged::kSsm);
  SequenceState trunk = paged.state();
  ASSERT_TRUE(Paged::grow(trunk, 200));
  const int64_t before = paged.memory->used();
  EXPECT_FALSE(trunk.fork().has_value());
  EXPECT_EQ(paged.memory->used(), before);
  Paged::expect_holds(trunk, 101, 200);
}

}  // namespace
}  // namespace fathom
