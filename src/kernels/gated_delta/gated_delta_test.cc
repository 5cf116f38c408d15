#include "kernels/gated_delta/gated_delta.h"

#include <vector>

#include "kernels/common/scan_testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

// One longer than a chunk, one row, none, several chunks.
const RowRange kSequences[] = {{0, 65}, {65, 66}, {66, 66}, {66, 204}};
constexpr int64_t kCount = 4, kRows = 204;
constexpr int kThreads = 3;

// Two keys and one column (with one key gradients are pure cancellation), sizes around every vector width,
// more columns than are summed together, more keys than a product takes at once.
const DeltaShape kShapes[] = {{1, 2, 1}, {3, 5, 7}, {2, 16, 32}, {1, 33, 50}, {2, 9, 150}, {1, 150, 20}};

struct Case {
  explicit Case(DeltaShape given)
      : shape(given),
        q(Buffer::normal(kRows * shape.keys(), 1)),
        k(Buffer::normal(kRows * shape.keys(), 2)),
        v(Buffer::normal(kRows * shape.values(), 3)),
        dt(Buffer::normal(kRows * shape.heads, 4)),
        b(Buffer::normal(kRows * shape.heads, 5)),
        dt_bias(Buffer::normal(shape.heads, 6)),
        a(Buffer::normal(shape.heads, 7)),
        grad_y(Buffer::normal(kRows * shape.values(), 8)),
        states(Buffer::normal(kCount * state_size(), 9)),
        y(kRows * shape.values()),
        terms(kRows * kDeltaTerms * shape.heads),
        checkpoints(gated_delta_checkpoints(kSequences, kCount, shape)),
        grad_q(kRows * shape.keys()),
        grad_k(kRows * shape.keys()),
        grad_v(kRows * shape.values()),
        grad_dt(kRows * shape.heads),
        grad_b(kRows * shape.heads),
        grad_dt_bias(shape.heads),
        grad_a_log(shape.heads),
        fwd_workspace(gated_delta_fwd_workspace(shape, kThreads)),
        chunks_workspace(gated_delta_chunks_workspace(kSequences, kCount, shape, kThreads)),
        bwd_workspace(gated_delta_bwd_workspace(kSequences, kCount, shape, kThreads)) {
    for (int64_t i = 0; i < a.size(); ++i) a[i] = -std::exp(a[i]);
    dt[0] = 30.0F;  // beyond where softplus is the identity
    for (const RowRange& rows : kSequences) sequences.push_back({rows, nullptr});
  }
  int64_t state_size() const { return shape.keys() * shape.value_dim; }
  void carry_states() {
    for (int64_t s = 0; s < kCount; ++s)
      sequences[static_cast<size_t>(s)].state = states.data() + s * state_size();
  }
  GatedDeltaFwd fwd() {
    return {.q = q.data(),
            .k = k.data(),
            .v = v.data(),
            .dt = dt.data(),
            .b = b.data(),
            .dt_bias = dt_bias.data(),
            .a = a.data(),
            .y = y.data(),
            .sequences = sequences.data(),
            .num_sequences = kCount,
            .terms = terms.data(),
            .checkpoints = checkpoints.data(),
            .workspace = fwd_workspace.data(),
            .shape = shape};
  }
  GatedDeltaFwd chunks() {
    GatedDeltaFwd args = fwd();
    args.workspace = chunks_workspace.data();
    return args;
  }
  GatedDeltaBwd bwd() {
    return {.q = q.data(),
            .k = k.data(),
            .v = v.data(),
            .dt = dt.data(),
            .b = b.data(),
            .dt_bias = dt_bias.data(),
            .a = a.data(),
            .grad_y = grad_y.data(),
            .terms = terms.data(),
            .checkpoints = checkpoints.data(),
            .sequences = kSequences,
            .num_sequences = kCount,
            .grad_q = grad_q.data(),
            .grad_k = grad_k.data(),
            .grad_v = grad_v.data(),
            .grad_dt = grad_dt.data(),
            .grad_b = grad_b.data(),
            .grad_dt_bias = grad_dt_bias.data(),
            .grad_a_log = grad_a_log.data(),
            .workspace = bwd_workspace.data(),
            .shape = shape};
  }
  DeltaShape shape;
  Buffer q, k, v, dt, b, dt_bias, a, grad_y, states, y, terms, checkpoints, grad_q, grad_k, grad_v, grad_dt,
      grad_b, grad_dt_bias, grad_a_log, fwd_workspace, chunks_workspace, bwd_workspace;
  std::vector<DeltaSequence> sequences;
};

// What was stored under a key is recalled by it, and storing another value under it replaces the first.
TEST(GatedDelta, RefRecallsWhatWasStoredLast) {
  Case c({1, 2, 3});
  c.a[0] = 0;                                         // nothing fades
  for (int64_t i = 0; i < kRows; ++i) c.b[i] = 0.0F;  // beta = 1
  for (int64_t i = 0; i < kRows; ++i) {
    const bool first = i % 2 == 0;  // two orthogonal keys in turn, asked for as they are stored
    c.k[2 * i] = c.q[2 * i] = first ? 3.0F : 0.0F;
    c.k[2 * i + 1] = c.q[2 * i + 1] = first ? 0.0F : -4.0F;
  }
  gated_delta_fwd_ref(c.fwd());
  Buffer expected(c.y.size());
  for (int64_t i = 0; i < c.y.size(); ++i) expected[i] = c.v[i] / std::sqrt(2.0F);
  EXPECT_LE(testing::relative_error(c.y, expected), 1e-5);
}

TEST(GatedDelta, RefBackwardIsTheDerivativeOfForward) {
  Case c({2, 3, 2});
  c.dt[0] = 0.5F;  // softplus has a step of the order of 1e-9 at 20; stay away from large values
  gated_delta_fwd_ref(c.fwd());
  gated_delta_bwd_ref(c.bwd());
  const auto loss = [&] {
    gated_delta_fwd_ref(c.fwd());
    return testing::dot(c.y, c.grad_y);
  };
  // q and k are divided by their norms, some of which are small: a smaller step.
  testing::expect_gradient(c.q, c.grad_q, loss, 5e-3, 1e-3F);
  testing::expect_gradient(c.k, c.grad_k, loss, 5e-3, 1e-3F);
  testing::expect_gradient(c.v, c.grad_v, loss);
  testing::expect_gradient(c.dt, c.grad_dt, loss);
  testing::expect_gradient(c.b, c.grad_b, loss);
  testing::expect_gradient(c.dt_bias, c.grad_dt_bias, loss);
  testing::expect_gradient_of_log(c.a, c.grad_a_log, loss);
}

TEST(GatedDelta, CpuEqualsRefForAnyThreads) {
  ThreadPool pool(kThreads);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (const DeltaShape& shape : kShapes) {
      SCOPED_TRACE(std::to_string(shape.heads) + " heads of " + std::to_string(shape.key_dim) + " x " +
                   std::to_string(shape.value_dim));
      Case ref(shape), cpu(shape), alone(shape);
      gated_delta_fwd_ref(ref.fwd());
      gated_delta_fwd_cpu(cpu.fwd(), pool);
      gated_delta_fwd_cpu(alone.fwd(), serial);
      EXPECT_LE(testing::relative_error(cpu.y, ref.y), 1e-5);
      EXPECT_LE(testing::relative_error(cpu.terms, ref.terms), 1e-6);
      EXPECT_LE(testing::relative_error(cpu.checkpoints, ref.checkpoints), 1e-5);
      EXPECT_TRUE(testing::same_bits(cpu.y, alone.y));
      gated_delta_bwd_ref(ref.bwd());
      gated_delta_bwd_cpu(cpu.bwd(), pool);
      gated_delta_bwd_cpu(alone.bwd(), serial);
      EXPECT_LE(testing::relative_error(cpu.grad_q, ref.grad_q), 2e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_k, ref.grad_k), 2e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_v, ref.grad_v), 1e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_dt, ref.grad_dt), 2e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_b, ref.grad_b), 2e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_dt_bias, ref.grad_dt_bias), 2e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_a_log, ref.grad_a_log), 2e-5);
      EXPECT_TRUE(
          testing::same_bits(cpu.grad_q, alone.grad_q) && testing::same_bits(cpu.grad_k, alone.grad_k) &&
          testing::same_bits(cpu.grad_v, alone.grad_v) && testing::same_bits(cpu.grad_dt, alone.grad_dt) &&
          testing::same_bits(cpu.grad_b, alone.grad_b) &&
          testing::same_bits(cpu.grad_a_log, alone.grad_a_log));
      EXPECT_TRUE(cpu.y.intact() && cpu.terms.intact() && cpu.checkpoints.intact() && cpu.grad_q.intact() &&
                  cpu.grad_k.intact() && cpu.grad_v.intact() && cpu.grad_dt.intact() && cpu.grad_b.intact() &&
                  cpu.fwd_workspace.intact() && cpu.bwd_workspace.intact());
    }
  });
}

TEST(GatedDelta, ChunksEqualRefForAnyThreads) {
  ThreadPool pool(kThreads);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (const DeltaShape& shape : kShapes) {
      for (bool carried : {false, true}) {
        SCOPED_TRACE(std::to_string(shape.heads) + " heads of " + std::to_string(shape.key_dim) + " x " +
                     std::to_string(shape.value_dim) + (carried ? ", states carried on" : ""));
        Case ref(shape), chunks(shape), alone(shape);
        if (carried) {
          for (Case* c : {&ref, &chunks, &alone}) c->carry_states();
        }
        gated_delta_fwd_ref(ref.fwd());
        gated_delta_fwd_chunks_cpu(chunks.chunks(), pool);
        gated_delta_fwd_chunks_cpu(alone.chunks(), serial);
        EXPECT_LE(testing::relative_error(chunks.y, ref.y), 1e-5);
        EXPECT_LE(testing::relative_error(chunks.checkpoints, ref.checkpoints), 1e-5);
        EXPECT_LE(testing::relative_error(chunks.states, ref.states), 1e-5);
        EXPECT_TRUE(testing::same_bits(chunks.y, alone.y) &&
                    testing::same_bits(chunks.states, alone.states) &&
                    testing::same_bits(chunks.checkpoints, alone.checkpoints));
        EXPECT_TRUE(chunks.y.intact() && chunks.terms.intact() && chunks.checkpoints.intact() &&
                    chunks.states.intact() && chunks.chunks_workspace.intact());
      }
    }
  });
}

// Forward and backward, of a sequence among others and of the same alone.
TEST(GatedDelta, ChunksOfASequenceDoNotKnowTheOthers) {
  SerialParallel serial;
  testing::for_each_level([&] {
    Case all({2, 16, 32}), one({2, 16, 32});
    gated_delta_fwd_chunks_cpu(all.chunks(), serial);
    gated_delta_bwd_cpu(all.bwd(), serial);
    const RowRange last = kSequences[3];
    const DeltaSequence sequence{last, nullptr};
    GatedDeltaFwd fwd = one.chunks();
    fwd.sequences = &sequence;
    fwd.num_sequences = 1;
    gated_delta_fwd_chunks_cpu(fwd, serial);
    GatedDeltaBwd bwd = one.bwd();
    bwd.sequences = &last;
    bwd.num_sequences = 1;
    gated_delta_bwd_cpu(bwd, serial);
    const auto same = [&](const Buffer& a, const Buffer& b, int64_t width) {
      for (int64_t i = last.begin * width; i < last.end * width; ++i) ASSERT_EQ(a[i], b[i]) << i;
    };
    same(all.y, one.y, all.shape.values());
    same(all.grad_q, one.grad_q, all.shape.keys());
    same(all.grad_k, one.grad_k, all.shape.keys());
    same(all.grad_v, one.grad_v, all.shape.values());
    same(all.grad_dt, one.grad_dt, all.shape.heads);
    same(all.grad_b, one.grad_b, all.shape.heads);
  });
}

// Decays of a chunk's rows multiply to less than a float holds, at some rows at once.
TEST(GatedDelta, ChunksThatForgetAlmostEverythingEqualRef) {
  SerialParallel serial;
  testing::for_each_level([&] {
    for (float rate : {-3.0F, -30.0F, -1e4F}) {
      Case ref({2, 16, 32}), chunks({2, 16, 32});
      for (Case* c : {&ref, &chunks}) {
        for (int64_t i = 0; i < c->a.size(); ++i) c->a[i] = rate;
      }
      gated_delta_fwd_ref(ref.fwd());
      gated_delta_bwd_ref(ref.bwd());
      gated_delta_fwd_chunks_cpu(chunks.chunks(), serial);
      gated_delta_bwd_cpu(chunks.bwd(), serial);
      EXPECT_LE(testing::relative_error(chunks.y, ref.y), 1e-5) << rate;
      EXPECT_LE(testing::relative_error(chunks.checkpoints, ref.checkpoints), 1e-5) << rate;
      EXPECT_LE(testing::relative_error(chunks.grad_q, ref.grad_q), 2e-5) << rate;
      EXPECT_LE(testing::relative_error(chunks.grad_k, ref.grad_k), 2e-5) << rate;
      EXPECT_LE(testing::relative_error(chunks.grad_v, ref.grad_v), 1e-5) << rate;
      EXPECT_LE(testing::relative_error(chunks.grad_dt, ref.grad_dt), 2e-5) << rate;
      EXPECT_LE(testing::relative_error(chunks.grad_b, ref.grad_b), 2e-5) << rate;
      EXPECT_LE(testing::relative_error(chunks.grad_a_log, ref.grad_a_log), 2e-5) << rate;
    }
  });
}

TEST(GatedDelta, CutsDoNotChangeABit) {
  SerialParallel serial;
  testing::for_each_level([&] {
    for (const DeltaShape& shape : {DeltaShape{3, 5, 7}, DeltaShape{1, 18, 40}}) {
      for (uint64_t draw = 0; draw < 5; ++draw) {
        Case whole(shape), cut(shape);
        whole.carry_states();
        cut.carry_states();
        gated_delta_fwd_cpu(whole.fwd(), serial);
        testing::in_random_pieces(kSequences, 70, draw, static_cast<uint64_t>(shape.key_dim),
                                  [&](RowRange rows, size_t s) {
                                    const DeltaSequence piece{rows, cut.sequences[s].state};
                                    GatedDeltaFwd args = cut.fwd();
                                    args.sequences = &piece;
                                    args.num_sequences = 1;
                                    args.checkpoints = nullptr;
                                    gated_delta_fwd_cpu(args, serial);
                                  });
        EXPECT_TRUE(testing::same_bits(cut.y, whole.y)) << shape.key_dim << " " << draw;
        EXPECT_TRUE(testing::same_bits(cut.states, whole.states)) << shape.key_dim << " " << draw;
      }
    }
  });
}

TEST(GatedDelta, ADecayThatUnderflowsForgetsTheState) {
  SerialParallel serial;
  testing::for_each_level([&] {
    Case c({2, 4, 5});
    c.carry_states();
    testing::forget_everything(c.a, c.dt, c.dt_bias);
    Case ref = c;
    for (size_t s = 0; s < static_cast<size_t>(kCount); ++s)
      ref.sequences[s].state = nullptr;  // zeros instead of what was carried
    gated_delta_fwd_cpu(c.fwd(), serial);
    gated_delta_fwd_ref(ref.fwd());
    EXPECT_LE(testing::relative_error(c.y, ref.y), 2e-6);
  });
}

TEST(GatedDelta, KeysOfZerosChangeNothing) {
  SerialParallel serial;
  testing::for_each_level([&] {
    Case c({1, 4, 5});
    for (int64_t i = 0; i < c.k.size(); ++i) c.k[i] = 0.0F;
    gated_delta_fwd_cpu(c.fwd(), serial);
    gated_delta_bwd_cpu(c.bwd(), serial);
    for (int64_t i = 0; i < c.y.size(); ++i) ASSERT_EQ(c.y[i], 0.0F);
    for (int64_t i = 0; i < c.grad_k.size(); ++i) ASSERT_TRUE(std::isfinite(c.grad_k[i]));
  });
}

TEST(GatedDelta, NaNStaysInItsColumnAndDoesNotVanish) {
  SerialParallel serial;
  testing::for_each_level([&] {
    Case c({2, 4, 5});
    c.v[100 * 10 + 7] = std::numeric_limits<float>::quiet_NaN();
    gated_delta_fwd_cpu(c.fwd(), serial);
    Case chunks = c;
    gated_delta_fwd_chunks_cpu(chunks.chunks(), serial);
    for (int64_t r = 100; r < kRows; ++r) EXPECT_TRUE(std::isnan(chunks.y[r * 10 + 7])) << r;
    EXPECT_FALSE(std::isnan(c.y[99 * 10 + 7]));
    for (int64_t r = 100; r < kRows; ++r) EXPECT_TRUE(std::isnan(c.y[r * 10 + 7])) << r;
    EXPECT_FALSE(std::isnan(c.y[100 * 10 + 6]));
    EXPECT_FALSE(std::isnan(c.y[100 * 10 + 8]));
  });
}

}  // namespace
}  // namespace fathom::kernels
