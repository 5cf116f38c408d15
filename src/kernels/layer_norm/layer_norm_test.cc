#include "kernels/layer_norm/layer_norm.h"

#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Shape {
  int64_t rows, dim;
};
const Shape kShapes[] = {{1, 5}, {3, 7}, {2, 8}, {5, 31}, {130, 65}, {67, 129}};

struct Case {
  explicit Case(Shape s)
      : rows(s.rows),
        dim(s.dim),
        x(Buffer::normal(rows * dim, 1, 1.0F, 3.0F)),
        weight(Buffer::normal(dim, 2, 0.3F, 1.0F)),
        bias(Buffer::normal(dim, 4)),
        grad_y(Buffer::normal(rows * dim, 3)),
        y(rows * dim),
        mean(rows),
        rstd(rows),
        grad_x(rows * dim),
        grad_weight(dim),
        grad_bias(dim),
        workspace(layer_norm_bwd_workspace(rows, dim)) {}
  LayerNormFwd fwd() {
    return {x.data(), weight.data(), bias.data(), y.data(), mean.data(), rstd.data(), rows, dim, 1e-5F};
  }
  LayerNormBwd bwd() {
    return {x.data(),
            weight.data(),
            mean.data(),
            rstd.data(),
            grad_y.data(),
            grad_x.data(),
            grad_weight.data(),
            grad_bias.data(),
            workspace.data(),
            rows,
            dim};
  }
  int64_t rows, dim;
  Buffer x, weight, bias, grad_y, y, mean, rstd, grad_x, grad_weight, grad_bias, workspace;
};

TEST(LayerNorm, RefDoesNotSeeAShift) {
  Case a({4, 33}), b({4, 33});
  for (int64_t i = 0; i < b.x.size(); ++i) b.x[i] += 16.0F;
  layer_norm_fwd_ref(a.fwd());
  layer_norm_fwd_ref(b.fwd());
  EXPECT_LE(testing::relative_error(b.y, a.y), 1e-5);
}

TEST(LayerNorm, RefBackwardIsTheDerivativeOfForward) {
  Case c({3, 9});
  layer_norm_fwd_ref(c.fwd());
  layer_norm_bwd_ref(c.bwd());
  const auto loss = [&] {
    layer_norm_fwd_ref(c.fwd());
    return testing::dot(c.y, c.grad_y);
  };
  testing::expect_gradient(c.x, c.grad_x, loss);
  testing::expect_gradient(c.weight, c.grad_weight, loss);
  testing::expect_gradient(c.bias, c.grad_bias, loss);
}

TEST(LayerNorm, CpuEqualsRefAndHasTheSameBitsForAnyThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (Shape shape : kShapes) {
      Case ref(shape), cpu(shape), alone(shape);
      layer_norm_fwd_ref(ref.fwd());
      layer_norm_fwd_cpu(cpu.fwd(), pool);
      layer_norm_fwd_cpu(alone.fwd(), serial);
      EXPECT_LE(testing::relative_error(cpu.y, ref.y), 2e-6) << shape.rows << "x" << shape.dim;
      EXPECT_TRUE(testing::same_bits(cpu.y, alone.y));
      layer_norm_bwd_ref(ref.bwd());
      layer_norm_bwd_cpu(cpu.bwd(), pool);
      layer_norm_bwd_cpu(alone.bwd(), serial);
      EXPECT_LE(testing::relative_error(cpu.grad_x, ref.grad_x), 5e-6) << shape.rows << "x" << shape.dim;
      EXPECT_LE(testing::relative_error(cpu.grad_weight, ref.grad_weight), 5e-6);
      EXPECT_LE(testing::relative_error(cpu.grad_bias, ref.grad_bias), 5e-6);
      EXPECT_TRUE(testing::same_bits(cpu.grad_x, alone.grad_x));
      EXPECT_TRUE(testing::same_bits(cpu.grad_weight, alone.grad_weight));
      EXPECT_TRUE(testing::same_bits(cpu.grad_bias, alone.grad_bias));
      EXPECT_TRUE(cpu.y.intact() && cpu.grad_x.intact() && cpu.grad_weight.intact() &&
                  cpu.grad_bias.intact());
    }
  });
}

}  // namespace
}  // namespace fathom::kernels
