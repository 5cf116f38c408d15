#include "kernels/ssd_scan/ssd_scan.h"

#include <vector>

#include "kernels/common/scan_testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

// One longer than a chunk, one row, none, several chunks.
const RowRange kSequences[] = {{0, 65}, {65, 66}, {66, 66}, {66, 204}};
constexpr int64_t kCount = 4, kRows = 204;
constexpr int kThreads = 3;

// One channel and state, few of them, several groups, more heads than are summed together and a block that is
// not full, more states than one walk takes, more channels and states than a product takes at once.
const SsdShape kShapes[] = {
    {1, 1, 1, 1, 0},    {2, 7, 5, 1, 0},   {6, 5, 16, 2, 0},   {11, 3, 33, 1, 0},
    {2, 20, 128, 1, 0}, {1, 6, 150, 1, 0}, {1, 140, 20, 1, 0},
};

// x, b and c are columns of one array, as the convolution leaves them, and there are further ones.
struct Case {
  explicit Case(SsdShape given)
      : shape(with_stride(given)),
        xbc(Buffer::normal(kRows * shape.x_stride, 1)),
        dt(Buffer::normal(kRows * shape.heads, 2)),
        dt_bias(Buffer::normal(shape.heads, 3)),
        a(Buffer::normal(shape.heads, 4)),
        d(Buffer::normal(shape.heads, 5)),
        grad_y(Buffer::normal(kRows * shape.inner(), 6)),
        states(Buffer::normal(kCount * shape.inner() * shape.state, 7)),
        y(kRows * shape.inner()),
        rates(kRows * 2 * shape.heads),
        checkpoints(ssd_scan_checkpoints(kSequences, kCount, shape)),
        grad_x(kRows * shape.x_stride, 0.0F),
        grad_b(kRows * width()),
        grad_c(kRows * width()),
        grad_dt(kRows * shape.heads),
        grad_dt_bias(shape.heads),
        grad_a_log(shape.heads),
        grad_d(shape.heads),
        chunks_workspace(ssd_scan_chunks_workspace(shape, kThreads)),
        workspace(ssd_scan_bwd_workspace(kRows, kCount, shape, kThreads)) {
    for (int64_t k = 0; k < a.size(); ++k) a[k] = -std::exp(a[k]);
    dt[0] = 30.0F;  // beyond where softplus is the identity
    for (const RowRange& rows : kSequences) sequences.push_back({rows, nullptr});
  }
  static SsdShape with_stride(SsdShape shape) {
    shape.x_stride = shape.inner() + 2 * shape.groups * shape.state + 3;
    return shape;
  }
  int64_t width() const { return shape.groups * shape.state; }
  void carry_states() {
    for (int64_t s = 0; s < kCount; ++s)
      sequences[static_cast<size_t>(s)].state = states.data() + s * shape.inner() * shape.state;
  }
  SsdScanFwd fwd() {
    return {.x = xbc.data(),
            .b = xbc.data() + shape.inner(),
            .c = xbc.data() + shape.inner() + width(),
            .dt = dt.data(),
            .dt_bias = dt_bias.data(),
            .a = a.data(),
            .d = d.data(),
            .y = y.data(),
            .sequences = sequences.data(),
            .num_sequences = kCount,
            .rates = rates.data(),
            .checkpoints = checkpoints.data(),
            .workspace = chunks_workspace.data(),
            .shape = shape};
  }
  SsdScanBwd bwd() {
    return {.x = xbc.data(),
            .b = xbc.data() + shape.inner(),
            .c = xbc.data() + shape.inner() + width(),
            .dt = dt.data(),
            .dt_bias = dt_bias.data(),
            .a = a.data(),
            .d = d.data(),
            .grad_y = grad_y.data(),
            .rates = rates.data(),
            .checkpoints = checkpoints.data(),
            .sequences = kSequences,
            .num_sequences = kCount,
            .grad_x = grad_x.data(),
            .grad_b = grad_b.data(),
            .grad_c = grad_c.data(),
            .grad_dt = grad_dt.data(),
            .grad_dt_bias = grad_dt_bias.data(),
            .grad_a_log = grad_a_log.data(),
            .grad_d = grad_d.data(),
            .workspace = workspace.data(),
            .shape = shape,
            .grad_x_stride = shape.x_stride};
  }
  // Gradients of all columns of xbc.
  Buffer grad_xbc() const {
    Buffer all = grad_x;
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t n = 0; n < width(); ++n) {
        all[r * shape.x_stride + shape.inner() + n] = grad_b[r * width() + n];
        all[r * shape.x_stride + shape.inner() + width() + n] = grad_c[r * width() + n];
      }
    }
    return all;
  }
  SsdShape shape;
  Buffer xbc, dt, dt_bias, a, d, grad_y, states, y, rates, checkpoints, grad_x, grad_b, grad_c, grad_dt,
      grad_dt_bias, grad_a_log, grad_d, chunks_workspace, workspace;
  std::vector<SsdSequence> sequences;
};

TEST(SsdScan, RefWithoutDecayIsARunningSum) {
  Case c({1, 1, 1, 1, 0});
  c.a[0] = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    c.dt[r] = 25.0F;  // delta = 25
    c.xbc[r * c.shape.x_stride + 1] = c.xbc[r * c.shape.x_stride + 2] = 1.0F;
  }
  c.dt_bias[0] = 0;
  c.d[0] = 0;
  ssd_scan_fwd_ref(c.fwd());
  double total = 0;
  for (int64_t r = 66; r < kRows; ++r) {
    total += 25.0 * c.xbc[r * c.shape.x_stride];
    EXPECT_NEAR(c.y[r], total, 1e-3);
  }
}

TEST(SsdScan, RefBackwardIsTheDerivativeOfForward) {
  Case c({4, 2, 3, 2, 0});
  c.dt[0] = 0.5F;  // softplus has a step of the order of 1e-9 at 20; stay away from large values
  ssd_scan_fwd_ref(c.fwd());
  ssd_scan_bwd_ref(c.bwd());
  const auto loss = [&] {
    ssd_scan_fwd_ref(c.fwd());
    return testing::dot(c.y, c.grad_y);
  };
  testing::expect_gradient(c.xbc, c.grad_xbc(), loss);
  testing::expect_gradient(c.dt, c.grad_dt, loss);
  testing::expect_gradient(c.dt_bias, c.grad_dt_bias, loss);
  testing::expect_gradient(c.d, c.grad_d, loss);
  testing::expect_gradient_of_log(c.a, c.grad_a_log, loss);
}

TEST(SsdScan, CpuEqualsRefForAnyThreads) {
  ThreadPool pool(kThreads);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (const SsdShape& shape : kShapes) {
      SCOPED_TRACE(std::to_string(shape.heads) + " heads of " + std::to_string(shape.head_dim) + ", " +
                   std::to_string(shape.state) + " states");
      Case ref(shape), cpu(shape), alone(shape);
      ssd_scan_fwd_ref(ref.fwd());
      ssd_scan_fwd_cpu(cpu.fwd(), pool);
      ssd_scan_fwd_cpu(alone.fwd(), serial);
      EXPECT_LE(testing::relative_error(cpu.y, ref.y), 5e-6);
      EXPECT_LE(testing::relative_error(cpu.rates, ref.rates), 1e-6);
      EXPECT_LE(testing::relative_error(cpu.checkpoints, ref.checkpoints), 5e-6);
      EXPECT_TRUE(testing::same_bits(cpu.y, alone.y));
      ssd_scan_bwd_ref(ref.bwd());
      ssd_scan_bwd_cpu(cpu.bwd(), pool);
      ssd_scan_bwd_cpu(alone.bwd(), serial);
      EXPECT_LE(testing::relative_error(cpu.grad_x, ref.grad_x), 1e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_dt, ref.grad_dt), 1e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_dt_bias, ref.grad_dt_bias), 2e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_a_log, ref.grad_a_log), 2e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_b, ref.grad_b), 1e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_c, ref.grad_c), 1e-5);
      EXPECT_LE(testing::relative_error(cpu.grad_d, ref.grad_d), 1e-5);
      EXPECT_TRUE(
          testing::same_bits(cpu.grad_x, alone.grad_x) && testing::same_bits(cpu.grad_b, alone.grad_b) &&
          testing::same_bits(cpu.grad_c, alone.grad_c) && testing::same_bits(cpu.grad_dt, alone.grad_dt) &&
          testing::same_bits(cpu.grad_a_log, alone.grad_a_log));
      EXPECT_TRUE(cpu.y.intact() && cpu.rates.intact() && cpu.checkpoints.intact() && cpu.grad_x.intact() &&
                  cpu.grad_b.intact() && cpu.grad_c.intact() && cpu.grad_dt.intact() && cpu.grad_d.intact() &&
                  cpu.workspace.intact());
    }
  });
}

TEST(SsdScan, ChunksEqualRefForAnyThreads) {
  ThreadPool pool(kThreads);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (const SsdShape& shape : kShapes) {
      for (bool carried : {false, true}) {
        SCOPED_TRACE(std::to_string(shape.heads) + " heads of " + std::to_string(shape.head_dim) + ", " +
                     std::to_string(shape.state) + " states" + (carried ? ", carried on" : ""));
        Case ref(shape), chunks(shape), alone(shape);
        if (carried) {
          for (Case* c : {&ref, &chunks, &alone}) c->carry_states();
        }
        ssd_scan_fwd_ref(ref.fwd());
        ssd_scan_fwd_chunks_cpu(chunks.fwd(), pool);
        ssd_scan_fwd_chunks_cpu(alone.fwd(), serial);
        EXPECT_LE(testing::relative_error(chunks.y, ref.y), 5e-6);
        EXPECT_LE(testing::relative_error(chunks.checkpoints, ref.checkpoints), 5e-6);
        EXPECT_LE(testing::relative_error(chunks.states, ref.states), 5e-6);
        EXPECT_TRUE(testing::same_bits(chunks.y, alone.y) &&
                    testing::same_bits(chunks.states, alone.states) &&
                    testing::same_bits(chunks.checkpoints, alone.checkpoints));
        EXPECT_TRUE(chunks.y.intact() && chunks.rates.intact() && chunks.checkpoints.intact() &&
                    chunks.states.intact() && chunks.chunks_workspace.intact());
      }
    }
  });
}

// Forward and backward, of a sequence among others and of the same alone.
TEST(SsdScan, ChunksOfASequenceDoNotKnowTheOthers) {
  SerialParallel serial;
  testing::for_each_level([&] {
    Case all({6, 5, 16, 2, 0}), one({6, 5, 16, 2, 0});
    ssd_scan_fwd_chunks_cpu(all.fwd(), serial);
    ssd_scan_bwd_cpu(all.bwd(), serial);
    const RowRange last = kSequences[3];
    const SsdSequence sequence{last, nullptr};
    SsdScanFwd fwd = one.fwd();
    fwd.sequences = &sequence;
    fwd.num_sequences = 1;
    ssd_scan_fwd_chunks_cpu(fwd, serial);
    SsdScanBwd bwd = one.bwd();
    bwd.sequences = &last;
    bwd.num_sequences = 1;
    ssd_scan_bwd_cpu(bwd, serial);
    const auto same = [&](const Buffer& a, const Buffer& b, int64_t width) {
      for (int64_t i = last.begin * width; i < last.end * width; ++i) ASSERT_EQ(a[i], b[i]) << i;
    };
    same(all.y, one.y, all.shape.inner());
    same(all.grad_x, one.grad_x, all.shape.x_stride);
    same(all.grad_b, one.grad_b, all.width());
    same(all.grad_c, one.grad_c, all.width());
    same(all.grad_dt, one.grad_dt, all.shape.heads);
  });
}

// Decays of a chunk's rows multiply to less than a float holds, at some rows at once.
TEST(SsdScan, ChunksThatForgetAlmostEverythingEqualRef) {
  SerialParallel serial;
  testing::for_each_level([&] {
    for (float rate : {-3.0F, -30.0F, -1e4F}) {
      Case ref({6, 5, 16, 2, 0}), chunks({6, 5, 16, 2, 0});
      for (Case* c : {&ref, &chunks}) {
        for (int64_t i = 0; i < c->a.size(); ++i) c->a[i] = rate;
      }
      ssd_scan_fwd_ref(ref.fwd());
      ssd_scan_bwd_ref(ref.bwd());
      ssd_scan_fwd_chunks_cpu(chunks.fwd(), serial);
      ssd_scan_bwd_cpu(chunks.bwd(), serial);
      EXPECT_LE(testing::relative_error(chunks.y, ref.y), 5e-6) << rate;
      EXPECT_LE(testing::relative_error(chunks.checkpoints, ref.checkpoints), 5e-6) << rate;
      EXPECT_LE(testing::relative_error(chunks.grad_x, ref.grad_x), 1e-5) << rate;
      EXPECT_LE(testing::relative_error(chunks.grad_b, ref.grad_b), 1e-5) << rate;
      EXPECT_LE(testing::relative_error(chunks.grad_c, ref.grad_c), 1e-5) << rate;
      EXPECT_LE(testing::relative_error(chunks.grad_dt, ref.grad_dt), 1e-5) << rate;
      EXPECT_LE(testing::relative_error(chunks.grad_a_log, ref.grad_a_log), 2e-5) << rate;
    }
  });
}

TEST(SsdScan, CutsDoNotChangeABit) {
  SerialParallel serial;
  testing::for_each_level([&] {
    for (const SsdShape& shape : {SsdShape{6, 5, 16, 2, 0}, SsdShape{2, 9, 150, 1, 0}}) {
      for (uint64_t draw = 0; draw < 5; ++draw) {
        Case whole(shape), cut(shape);
        whole.carry_states();
        cut.carry_states();
        ssd_scan_fwd_cpu(whole.fwd(), serial);
        testing::in_random_pieces(kSequences, 70, draw, static_cast<uint64_t>(shape.state),
                                  [&](RowRange rows, size_t s) {
                                    const SsdSequence piece{rows, cut.sequences[s].state};
                                    SsdScanFwd args = cut.fwd();
                                    args.sequences = &piece;
                                    args.num_sequences = 1;
                                    args.checkpoints = nullptr;
                                    ssd_scan_fwd_cpu(args, serial);
                                  });
        EXPECT_TRUE(testing::same_bits(cut.y, whole.y)) << shape.state << " " << draw;
        EXPECT_TRUE(testing::same_bits(cut.states, whole.states)) << shape.state << " " << draw;
      }
    }
  });
}

TEST(SsdScan, ADecayThatUnderflowsForgetsTheState) {
  SerialParallel serial;
  testing::for_each_level([&] {
    Case c({3, 3, 4, 1, 0});
    c.carry_states();
    testing::forget_everything(c.a, c.dt, c.dt_bias);
    Case ref = c;
    for (size_t s = 0; s < static_cast<size_t>(kCount); ++s)
      ref.sequences[s].state = nullptr;  // zeros instead of what was carried
    ssd_scan_fwd_cpu(c.fwd(), serial);
    ssd_scan_fwd_ref(ref.fwd());
    EXPECT_LE(testing::relative_error(c.y, ref.y), 2e-6);
  });
}

TEST(SsdScan, NaNStaysInItsHeadAndDoesNotVanish) {
  SerialParallel serial;
  testing::for_each_level([&] {
    Case c({3, 3, 4, 1, 0});
    c.dt[100 * 3 + 1] = std::numeric_limits<float>::quiet_NaN();
    ssd_scan_fwd_cpu(c.fwd(), serial);
    Case chunks = c;
    ssd_scan_fwd_chunks_cpu(chunks.fwd(), serial);
    for (int64_t r = 100; r < kRows; ++r) EXPECT_TRUE(std::isnan(chunks.y[r * 9 + 4])) << r;
    EXPECT_FALSE(std::isnan(chunks.y[199 * 9 + 2]));
    EXPECT_FALSE(std::isnan(c.y[99 * 9 + 4]));
    for (int64_t r = 100; r < kRows; ++r) EXPECT_TRUE(std::isnan(c.y[r * 9 + 4])) << r;
    EXPECT_FALSE(std::isnan(c.y[100 * 9 + 2]));
    EXPECT_FALSE(std::isnan(c.y[100 * 9 + 6]));
  });
}

}  // namespace
}  // namespace fathom::kernels
