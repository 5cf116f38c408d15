#include "kernels/rms_norm/rms_norm.h"

#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Shape {
  int64_t rows, dim;
};

// One row, sizes around every vector width, several row blocks. (With one column the gradient is pure
// cancellation.)
const Shape kShapes[] = {{1, 5}, {3, 7}, {2, 8}, {5, 31}, {1, 64}, {130, 65}, {67, 129}};

struct Case {
  explicit Case(Shape shape)
      : rows(shape.rows),
        dim(shape.dim),
        x(Buffer::normal(rows * dim, 1)),
        weight(Buffer::normal(dim, 2, 0.3F, 1.0F)),
        grad_y(Buffer::normal(rows * dim, 3)),
        y(rows * dim),
        rstd(rows),
        grad_x(rows * dim),
        grad_weight(dim),
        workspace(rms_norm_bwd_workspace(rows, dim)) {}

  RmsNormFwd fwd() { return {x.data(), weight.data(), y.data(), rstd.data(), rows, dim, 1e-5F}; }
  RmsNormBwd bwd() {
    return {x.data(),         weight.data(), rstd.data(), grad_y.data(), grad_x.data(), grad_weight.data(),
            workspace.data(), rows,          dim};
  }

  int64_t rows, dim;
  Buffer x, weight, grad_y, y, rstd, grad_x, grad_weight, workspace;
};

TEST(RmsNorm, RefIsScaleFree) {
  Case a({4, 33}), b({4, 33});
  for (int64_t i = 0; i < b.x.size(); ++i) b.x[i] *= 8.0F;
  RmsNormFwd fa = a.fwd(), fb = b.fwd();
  fa.eps = fb.eps = 0;
  rms_norm_fwd_ref(fa);
  rms_norm_fwd_ref(fb);
  EXPECT_LE(testing::relative_error(b.y, a.y), 1e-7);
}

TEST(RmsNorm, RefBackwardIsTheDerivativeOfForward) {
  Case c({3, 9});
  rms_norm_fwd_ref(c.fwd());
  rms_norm_bwd_ref(c.bwd());
  const auto loss = [&] {
    rms_norm_fwd_ref(c.fwd());
    return testing::dot(c.y, c.grad_y);
  };
  testing::expect_gradient(c.x, c.grad_x, loss);
  testing::expect_gradient(c.weight, c.grad_weight, loss);
}

TEST(RmsNorm, CpuEqualsRef) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (Shape shape : kShapes) {
      Case ref(shape), cpu(shape);
      rms_norm_fwd_ref(ref.fwd());
      rms_norm_fwd_cpu(cpu.fwd(), pool);
      EXPECT_LE(testing::relative_error(cpu.y, ref.y), 1e-6) << shape.rows << "x" << shape.dim;
      EXPECT_LE(testing::relative_error(cpu.rstd, ref.rstd), 1e-6);
      rms_norm_bwd_ref(ref.bwd());
      rms_norm_bwd_cpu(cpu.bwd(), pool);
      EXPECT_LE(testing::relative_error(cpu.grad_x, ref.grad_x), 2e-6) << shape.rows << "x" << shape.dim;
      EXPECT_LE(testing::relative_error(cpu.grad_weight, ref.grad_weight), 2e-6);
      EXPECT_TRUE(cpu.y.intact() && cpu.rstd.intact() && cpu.grad_x.intact() && cpu.grad_weight.intact());
    }
  });
}

TEST(RmsNorm, BitsDoNotDependOnThreadsOrCompany) {
  testing::for_each_level([&] {
    SerialParallel serial;
    ThreadPool pool(4);
    Case one({130, 65}), many({130, 65});
    rms_norm_fwd_cpu(one.fwd(), serial);
    rms_norm_fwd_cpu(many.fwd(), pool);
    EXPECT_TRUE(testing::same_bits(one.y, many.y));
    rms_norm_bwd_cpu(one.bwd(), serial);
    rms_norm_bwd_cpu(many.bwd(), pool);
    EXPECT_TRUE(testing::same_bits(one.grad_x, many.grad_x));
    EXPECT_TRUE(testing::same_bits(one.grad_weight, many.grad_weight));
    // Row 77 alone.
    Buffer alone(65);
    RmsNormFwd args = one.fwd();
    args.x += 77 * 65;
    args.y = alone.data();
    args.rstd = nullptr;
    args.rows = 1;
    rms_norm_fwd_cpu(args, serial);
    EXPECT_EQ(std::memcmp(alone.data(), one.y.data() + 77 * 65, 65 * sizeof(float)), 0);
  });
}

TEST(RmsNorm, ForwardMayRunInPlace) {
  Case apart({5, 31}), inplace({5, 31});
  SerialParallel serial;
  rms_norm_fwd_cpu(apart.fwd(), serial);
  RmsNormFwd args = inplace.fwd();
  args.y = inplace.x.data();
  rms_norm_fwd_cpu(args, serial);
  EXPECT_TRUE(testing::same_bits(inplace.x, apart.y));
}

}  // namespace
}  // namespace fathom::kernels
