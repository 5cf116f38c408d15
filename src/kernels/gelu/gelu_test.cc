#include "kernels/gelu/gelu.h"

#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Case {
  explicit Case(int64_t n)
      : count(n), x(Buffer::normal(n, 1, 2.0F)), grad_y(Buffer::normal(n, 2)), y(n), grad_x(n) {}
  GeluFwd fwd() { return {x.data(), y.data(), count, 0.7F}; }
  GeluBwd bwd() { return {x.data(), grad_y.data(), grad_x.data(), count, 0.7F}; }
  int64_t count;
  Buffer x, grad_y, y, grad_x;
};

TEST(Gelu, RefAtItsLimitsAndOne) {
  const std::vector<float> x = {50, -50, 0, 1};
  std::vector<float> y(4);
  gelu_fwd_ref({x.data(), y.data(), 4, 1});
  EXPECT_FLOAT_EQ(y[0], 50);
  EXPECT_NEAR(y[1], 0, 1e-30F);
  EXPECT_EQ(y[2], 0);
  EXPECT_FLOAT_EQ(y[3], 0.841344746F);  // Phi(1)
}

TEST(Gelu, RefBackwardIsTheDerivativeOfForward) {
  Case c(11);
  gelu_bwd_ref(c.bwd());
  const auto loss = [&] {
    gelu_fwd_ref(c.fwd());
    return testing::dot(c.y, c.grad_y);
  };
  testing::expect_gradient(c.x, c.grad_x, loss);
}

TEST(Gelu, CpuEqualsRefToTheBitForAnyThreads) {
  ThreadPool pool(3);
  for (int64_t n : {1, 7, 33, 9001}) {
    Case ref(n), cpu(n);
    gelu_fwd_ref(ref.fwd());
    gelu_bwd_ref(ref.bwd());
    gelu_fwd_cpu(cpu.fwd(), pool);
    gelu_bwd_cpu(cpu.bwd(), pool);
    EXPECT_TRUE(testing::same_bits(cpu.y, ref.y)) << n;
    EXPECT_TRUE(testing::same_bits(cpu.grad_x, ref.grad_x)) << n;
    EXPECT_TRUE(cpu.y.intact() && cpu.grad_x.intact());
  }
}

TEST(Gelu, InPlaceGivesTheSame) {
  Case apart(100), inplace(100);
  SerialParallel serial;
  gelu_fwd_cpu(apart.fwd(), serial);
  GeluFwd args = inplace.fwd();
  args.y = inplace.x.data();
  gelu_fwd_cpu(args, serial);
  EXPECT_TRUE(testing::same_bits(inplace.x, apart.y));
}

}  // namespace
}  // namespace fathom::kernels
