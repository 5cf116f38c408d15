#include "kernels/scale_columns/scale_columns.h"

#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Case {
  Case(int64_t n, int64_t d, bool onto_base)
      : rows(n),
        dim(d),
        has_base(onto_base),
        x(Buffer::normal(n * d, 1)),
        scale(Buffer::normal(d, 2)),
        base(Buffer::normal(n * d, 3)),
        grad_y(Buffer::normal(n * d, 4)),
        y(n * d),
        grad_x(n * d),
        grad_scale(d),
        workspace(scale_columns_bwd_workspace(n, d)) {}
  ScaleColumnsFwd fwd() {
    return {x.data(), scale.data(), has_base ? base.data() : nullptr, y.data(), rows, dim};
  }
  ScaleColumnsBwd bwd() {
    return {x.data(),          scale.data(),     grad_y.data(), grad_x.data(),
            grad_scale.data(), workspace.data(), rows,          dim};
  }
  int64_t rows, dim;
  bool has_base;
  Buffer x, scale, base, grad_y, y, grad_x, grad_scale, workspace;
};

TEST(ScaleColumns, RefMultipliesEachColumnByItsNumber) {
  Case c(2, 3, true);
  scale_columns_fwd_ref(c.fwd());
  for (int64_t i = 0; i < 6; ++i) EXPECT_FLOAT_EQ(c.y[i], c.base[i] + c.x[i] * c.scale[i % 3]);
  Case alone(2, 3, false);
  scale_columns_fwd_ref(alone.fwd());
  for (int64_t i = 0; i < 6; ++i) EXPECT_FLOAT_EQ(alone.y[i], alone.x[i] * alone.scale[i % 3]);
}

TEST(ScaleColumns, RefBackwardIsTheDerivativeOfForward) {
  Case c(3, 5, true);
  scale_columns_bwd_ref(c.bwd());
  const auto loss = [&] {
    scale_columns_fwd_ref(c.fwd());
    return testing::dot(c.y, c.grad_y);
  };
  testing::expect_gradient(c.x, c.grad_x, loss);
  testing::expect_gradient(c.scale, c.grad_scale, loss);
  testing::expect_gradient(c.base, c.grad_y, loss);
}

TEST(ScaleColumns, CpuEqualsRefForAnyThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (bool base : {false, true}) {
      for (int64_t dim : {1, 7, 16, 33, 130}) {
        Case ref(150, dim, base), cpu(150, dim, base), alone(150, dim, base);
        scale_columns_fwd_ref(ref.fwd());
        scale_columns_bwd_ref(ref.bwd());
        scale_columns_fwd_cpu(cpu.fwd(), pool);
        scale_columns_bwd_cpu(cpu.bwd(), pool);
        scale_columns_fwd_cpu(alone.fwd(), serial);
        scale_columns_bwd_cpu(alone.bwd(), serial);
        EXPECT_LE(testing::relative_error(cpu.y, ref.y), 2e-7) << dim;
        EXPECT_LE(testing::relative_error(cpu.grad_x, ref.grad_x), 2e-7) << dim;
        EXPECT_LE(testing::relative_error(cpu.grad_scale, ref.grad_scale), 1e-5) << dim;
        EXPECT_TRUE(testing::same_bits(cpu.y, alone.y) && testing::same_bits(cpu.grad_x, alone.grad_x) &&
                    testing::same_bits(cpu.grad_scale, alone.grad_scale));
        EXPECT_TRUE(cpu.y.intact() && cpu.grad_x.intact() && cpu.grad_scale.intact());
      }
    }
  });
}

TEST(ScaleColumns, InPlaceGivesTheSame) {
  SerialParallel serial;
  Case apart(5, 19, true), onto_x(5, 19, true), onto_base(5, 19, true);
  scale_columns_fwd_cpu(apart.fwd(), serial);
  ScaleColumnsFwd args = onto_x.fwd();
  args.y = onto_x.x.data();
  scale_columns_fwd_cpu(args, serial);
  EXPECT_TRUE(testing::same_bits(onto_x.x, apart.y));
  args = onto_base.fwd();
  args.y = onto_base.base.data();
  scale_columns_fwd_cpu(args, serial);
  EXPECT_TRUE(testing::same_bits(onto_base.base, apart.y));
}

}  // namespace
}  // namespace fathom::kernels
