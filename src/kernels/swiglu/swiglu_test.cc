#include "kernels/swiglu/swiglu.h"

#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Case {
  explicit Case(int64_t n)
      : count(n),
        gate(Buffer::normal(n, 1, 3.0F)),
        up(Buffer::normal(n, 2)),
        grad_y(Buffer::normal(n, 3)),
        y(n),
        grad_gate(n),
        grad_up(n) {}
  SwigluFwd fwd() { return {gate.data(), up.data(), y.data(), count}; }
  SwigluBwd bwd() { return {gate.data(), up.data(), grad_y.data(), grad_gate.data(), grad_up.data(), count}; }
  int64_t count;
  Buffer gate, up, grad_y, y, grad_gate, grad_up;
};

TEST(Swiglu, RefAtItsLimits) {
  Case c(3);
  c.gate[0] = 40.0F;    // silu is the identity there
  c.gate[1] = -120.0F;  // and vanishes here
  c.gate[2] = 0.0F;
  swiglu_fwd_ref(c.fwd());
  EXPECT_FLOAT_EQ(c.y[0], 40.0F * c.up[0]);
  EXPECT_NEAR(c.y[1], 0.0F, 1e-30F);
  EXPECT_EQ(c.y[2], 0.0F);
}

TEST(Swiglu, RefBackwardIsTheDerivativeOfForward) {
  Case c(11);
  swiglu_bwd_ref(c.bwd());
  const auto loss = [&] {
    swiglu_fwd_ref(c.fwd());
    return testing::dot(c.y, c.grad_y);
  };
  testing::expect_gradient(c.gate, c.grad_gate, loss);
  testing::expect_gradient(c.up, c.grad_up, loss);
}

TEST(Swiglu, CpuEqualsRefForAnyThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (int64_t n : {1, 7, 8, 33, 9001}) {
      Case ref(n), cpu(n), alone(n);
      for (Case* c : {&ref, &cpu, &alone}) {
        c->gate[0] = 200.0F;
        c->gate[n - 1] = -200.0F;
      }
      swiglu_fwd_ref(ref.fwd());
      swiglu_bwd_ref(ref.bwd());
      swiglu_fwd_cpu(cpu.fwd(), pool);
      swiglu_bwd_cpu(cpu.bwd(), pool);
      swiglu_fwd_cpu(alone.fwd(), serial);
      EXPECT_LE(testing::relative_error(cpu.y, ref.y), 1e-6) << n;
      EXPECT_LE(testing::relative_error(cpu.grad_gate, ref.grad_gate), 2e-6) << n;
      EXPECT_LE(testing::relative_error(cpu.grad_up, ref.grad_up), 1e-6) << n;
      EXPECT_TRUE(testing::same_bits(cpu.y, alone.y));
      EXPECT_TRUE(cpu.y.intact() && cpu.grad_gate.intact() && cpu.grad_up.intact());
    }
  });
}

TEST(Swiglu, InPlaceGivesTheSame) {
  Case apart(100), inplace(100);
  SerialParallel serial;
  swiglu_fwd_cpu(apart.fwd(), serial);
  SwigluFwd args = inplace.fwd();
  args.y = inplace.gate.data();
  swiglu_fwd_cpu(args, serial);
  EXPECT_TRUE(testing::same_bits(inplace.gate, apart.y));
}

}  // namespace
}  // namespace fathom::kernels
