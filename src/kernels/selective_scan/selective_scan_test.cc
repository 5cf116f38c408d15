#include "kernels/selective_scan/selective_scan.h"

#include <vector>

#include "kernels/common/scan_testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

const RowRange kSequences[] = {{0, 33}, {33, 34}, {34, 104}};
constexpr int64_t kRows = 104;

struct Case {
  Case(int64_t i, int64_t n)
      : inner(i),
        state(n),
        x(Buffer::normal(kRows * i, 1)),
        dt(Buffer::normal(kRows * i, 2)),
        dt_bias(Buffer::normal(i, 3)),
        a(Buffer::normal(i * n, 4)),
        bc(Buffer::normal(kRows * stride(), 5)),
        d(Buffer::normal(i, 6)),
        grad_y(Buffer::normal(kRows * i, 7)),
        states(Buffer::normal(3 * i * n, 8)),
        y(kRows * i),
        checkpoints(selective_scan_checkpoints(kSequences, 3, i, n)),
        grad_x(kRows * i),
        grad_dt(kRows * i),
        grad_dt_bias(i),
        grad_a_log(i * n),
        grad_b(kRows * n),
        grad_c(kRows * n),
        grad_d(i),
        workspace(selective_scan_bwd_workspace(kRows, 3, i, n)) {
    for (int64_t k = 0; k < a.size(); ++k) a[k] = -std::exp(a[k]);
    dt[0] = 30.0F;  // beyond where softplus is the identity
    for (const RowRange& rows : kSequences) sequences.push_back({rows, nullptr});
  }
  void carry_states() {
    for (int64_t s = 0; s < 3; ++s)
      sequences[static_cast<size_t>(s)].state = states.data() + s * inner * state;
  }
  int64_t stride() const { return 2 * state + 3; }
  SelectiveScanFwd fwd() {
    return {x.data(), dt.data(), dt_bias.data(),   a.data(), bc.data() + 3,      bc.data() + 3 + state,
            d.data(), y.data(),  sequences.data(), 3,        checkpoints.data(), inner,
            state,    stride()};
  }
  SelectiveScanBwd bwd() {
    return {x.data(),
            dt.data(),
            dt_bias.data(),
            a.data(),
            bc.data() + 3,
            bc.data() + 3 + state,
            d.data(),
            grad_y.data(),
            checkpoints.data(),
            kSequences,
            3,
            grad_x.data(),
            grad_dt.data(),
            grad_dt_bias.data(),
            grad_a_log.data(),
            grad_b.data(),
            grad_c.data(),
            grad_d.data(),
            workspace.data(),
            inner,
            state,
            stride()};
  }
  int64_t inner, state;
  Buffer x, dt, dt_bias, a, bc, d, grad_y, states, y, checkpoints, grad_x, grad_dt, grad_dt_bias, grad_a_log,
      grad_b, grad_c, grad_d, workspace;
  std::vector<ScanSequence> sequences;
};

TEST(SelectiveScan, RefWithoutDecayIsARunningSum) {
  Case c(1, 1);
  c.a[0] = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    c.dt[r] = 25.0F;  // delta = 25
    c.bc[r * 5 + 3] = c.bc[r * 5 + 4] = 1.0F;
  }
  c.dt_bias[0] = 0;
  c.d[0] = 0;
  selective_scan_fwd_ref(c.fwd());
  double total = 0;
  for (int64_t r = 34; r < kRows; ++r) {
    total += 25.0 * c.x[r];
    EXPECT_NEAR(c.y[r], total, 1e-3);
  }
}

TEST(SelectiveScan, RefBackwardIsTheDerivativeOfForward) {
  Case c(2, 3);
  c.dt[0] = 0.5F;  // softplus has a step of the order of 1e-9 at 20; stay away from large values
  selective_scan_fwd_ref(c.fwd());
  selective_scan_bwd_ref(c.bwd());
  const auto loss = [&] {
    selective_scan_fwd_ref(c.fwd());
    return testing::dot(c.y, c.grad_y);
  };
  testing::expect_gradient(c.x, c.grad_x, loss);
  testing::expect_gradient(c.dt, c.grad_dt, loss);
  testing::expect_gradient(c.dt_bias, c.grad_dt_bias, loss);
  testing::expect_gradient(c.d, c.grad_d, loss);
  Buffer grad_bc(c.bc.size(), 0.0F);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t n = 0; n < 3; ++n) {
      grad_bc[r * 9 + 3 + n] = c.grad_b[r * 3 + n];
      grad_bc[r * 9 + 6 + n] = c.grad_c[r * 3 + n];
    }
  }
  testing::expect_gradient(c.bc, grad_bc, loss);
  testing::expect_gradient_of_log(c.a, c.grad_a_log, loss);
}

TEST(SelectiveScan, CpuEqualsRefForAnyThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (int64_t inner : {1, 7, 33, 130}) {
      for (int64_t state : {1, 4, 16, 19}) {
        Case ref(inner, state), cpu(inner, state), alone(inner, state);
        selective_scan_fwd_ref(ref.fwd());
        selective_scan_fwd_cpu(cpu.fwd(), pool);
        selective_scan_fwd_cpu(alone.fwd(), serial);
        EXPECT_LE(testing::relative_error(cpu.y, ref.y), 5e-6) << inner << " " << state;
        EXPECT_LE(testing::relative_error(cpu.checkpoints, ref.checkpoints), 5e-6);
        EXPECT_TRUE(testing::same_bits(cpu.y, alone.y));
        selective_scan_bwd_ref(ref.bwd());
        selective_scan_bwd_cpu(cpu.bwd(), pool);
        selective_scan_bwd_cpu(alone.bwd(), serial);
        EXPECT_LE(testing::relative_error(cpu.grad_x, ref.grad_x), 1e-5);
        EXPECT_LE(testing::relative_error(cpu.grad_dt, ref.grad_dt), 1e-5);
        EXPECT_LE(testing::relative_error(cpu.grad_dt_bias, ref.grad_dt_bias), 2e-5);
        EXPECT_LE(testing::relative_error(cpu.grad_a_log, ref.grad_a_log), 2e-5);
        EXPECT_LE(testing::relative_error(cpu.grad_b, ref.grad_b), 1e-5);
        EXPECT_LE(testing::relative_error(cpu.grad_c, ref.grad_c), 1e-5);
        EXPECT_LE(testing::relative_error(cpu.grad_d, ref.grad_d), 1e-5);
        EXPECT_TRUE(testing::same_bits(cpu.grad_b, alone.grad_b) &&
                    testing::same_bits(cpu.grad_x, alone.grad_x) &&
                    testing::same_bits(cpu.grad_a_log, alone.grad_a_log));
        EXPECT_TRUE(cpu.y.intact() && cpu.checkpoints.intact() && cpu.grad_x.intact() &&
                    cpu.grad_b.intact() && cpu.grad_a_log.intact() && cpu.grad_dt.intact());
      }
    }
  });
}

TEST(SelectiveScan, CutsDoNotChangeABit) {
  SerialParallel serial;
  testing::for_each_level([&] {
    for (int64_t states : {16, 19}) {
      for (uint64_t draw = 0; draw < 10; ++draw) {
        Case whole(83, states), cut(83, states);
        whole.carry_states();
        cut.carry_states();
        selective_scan_fwd_cpu(whole.fwd(), serial);
        testing::in_random_pieces(kSequences, 40, draw, static_cast<uint64_t>(states),
                                  [&](RowRange rows, size_t s) {
                                    const ScanSequence piece{rows, cut.sequences[s].state};
                                    SelectiveScanFwd args = cut.fwd();
                                    args.sequences = &piece;
                                    args.num_sequences = 1;
                                    args.checkpoints = nullptr;
                                    selective_scan_fwd_cpu(args, serial);
                                  });
        EXPECT_TRUE(testing::same_bits(cut.y, whole.y)) << states << " " << draw;
        EXPECT_TRUE(testing::same_bits(cut.states, whole.states)) << states << " " << draw;
      }
    }
  });
}

TEST(SelectiveScan, ADecayThatUnderflowsForgetsTheState) {
  SerialParallel serial;
  testing::for_each_level([&] {
    Case c(9, 4);
    c.carry_states();
    testing::forget_everything(c.a, c.dt, c.dt_bias);
    Case ref = c;
    for (size_t s = 0; s < 3; ++s) ref.sequences[s].state = nullptr;  // zeros instead of what was carried
    selective_scan_fwd_cpu(c.fwd(), serial);
    selective_scan_fwd_ref(ref.fwd());
    EXPECT_LE(testing::relative_error(c.y, ref.y), 2e-6);
  });
}

// A decay a little below 1 sums thousands of rows, so its own rounding (2^-24) counts 1 / (1 - decay) = 1100
// times. The bound leaves room for that and for nothing like a bias of the exponential.
TEST(SelectiveScan, SlowDecaysKeepTheirAccuracy) {
  SerialParallel serial;
  const int64_t rows = 4000;
  testing::for_each_level([&] {
    Buffer x = Buffer::normal(rows, 1, 0.1F, 1.0F), dt(rows, -7.0F), a(1, -1.0F), bc(2 * rows, 1.0F),
           zero(1, 0.0F), ref(rows), cpu(rows);
    const ScanSequence all{{0, rows}, nullptr};
    SelectiveScanFwd args{x.data(),      dt.data(),   zero.data(), a.data(), bc.data(),
                          bc.data() + 1, zero.data(), ref.data(),  &all,     1,
                          nullptr,       1,           1,           2};
    selective_scan_fwd_ref(args);
    args.y = cpu.data();
    selective_scan_fwd_cpu(args, serial);
    EXPECT_LE(testing::relative_error(cpu, ref), 1e-4);
  });
}

TEST(SelectiveScan, NaNDoesNotVanish) {
  SerialParallel serial;
  testing::for_each_level([&] {
    Case c(9, 4);
    c.dt[40 * 9 + 2] = std::numeric_limits<float>::quiet_NaN();
    selective_scan_fwd_cpu(c.fwd(), serial);
    EXPECT_FALSE(std::isnan(c.y[39 * 9 + 2]));
    for (int64_t r = 40; r < kRows; ++r) EXPECT_TRUE(std::isnan(c.y[r * 9 + 2])) << r;
    EXPECT_FALSE(std::isnan(c.y[40 * 9 + 1]));
  });
}

}  // namespace
}  // namespace fathom::kernels
