#include "kernels/differential_norm/differential_norm.h"

#include <cmath>

#include "base/half.h"
#include "kernels/common/testing.h"
#include "kernels/rms_norm/rms_norm.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Shape {
  int64_t rows, pairs, dim;
};

const Shape kShapes[] = {{1, 1, 6}, {3, 2, 8}, {5, 3, 31}, {2, 1, 64}, {130, 2, 66}, {67, 4, 128}};

struct Case {
  explicit Case(Shape shape)
      : rows(shape.rows),
        pairs(shape.pairs),
        dim(shape.dim),
        x(Buffer::normal(2 * rows * pairs * dim, 1)),
        weight(Buffer::normal(dim, 2, 0.3F, 1.0F)),
        grad_y(Buffer::normal(rows * pairs * dim, 3)),
        y(grad_y.size()),
        rstd(rows * pairs),
        grad_x(x.size()),
        grad_weight(dim),
        grad_lambda(1),
        workspace(differential_norm_bwd_workspace(rows, dim)) {}
  DifferentialNormFwd fwd() {
    return {x.data(), weight.data(), y.data(), rstd.data(), rows, pairs, dim, lambda, 0.4F, 1e-5F};
  }
  DifferentialNormBwd bwd() {
    return {x.data(),
            weight.data(),
            rstd.data(),
            grad_y.data(),
            grad_x.data(),
            grad_weight.data(),
            grad_lambda.data(),
            workspace.data(),
            rows,
            pairs,
            dim,
            lambda,
            0.4F};
  }
  int64_t rows, pairs, dim;
  float lambda = 0.7F;
  Buffer x, weight, grad_y, y, rstd, grad_x, grad_weight, grad_lambda, workspace;
};

TEST(DifferentialNorm, RefWithoutLambdaIsRmsNormOfTheFirstMap) {
  Case c({4, 3, 10});
  c.lambda = 0;
  differential_norm_fwd_ref(c.fwd());
  for (int64_t p = 0; p < 12; ++p) {
    Buffer y(10), rstd(1);
    rms_norm_fwd_ref({c.x.data() + 2 * p * 10, c.weight.data(), y.data(), rstd.data(), 1, 10, 1e-5F});
    for (int64_t d = 0; d < 10; ++d) EXPECT_NEAR(c.y[p * 10 + d], 0.4F * y[d], 1e-6);
    EXPECT_EQ(c.rstd[p], rstd[0]);
  }
}

// One pair of two numbers, by hand: 1/3 is 0.333984375 in bfloat16.
TEST(DifferentialNorm, StepsOfBf16ByHand) {
  Case c({1, 1, 2});
  const float third = round_to_bfloat16(1.0F / 3);
  const float x[] = {1, third, third, 1}, weight[] = {third, 1};
  std::copy(x, x + 4, c.x.data());
  std::copy(weight, weight + 2, c.weight.data());
  c.lambda = third;
  DifferentialNormFwd args = c.fwd();
  args.rstd = nullptr;
  args.bf16_steps = true;
  // lambda x: 0.11154.. -> 0.111328125, and lambda; differences 0.888671875 -> 0.890625, and 0.
  const float m = 0.890625F, rstd = 1 / std::sqrt(m * m / 2 + 1e-5F);
  EXPECT_EQ(round_to_bfloat16(1 - round_to_bfloat16(third * third)), m);
  const float normed = round_to_bfloat16(m * rstd);
  const float expected[] = {round_to_bfloat16(round_to_bfloat16(normed * third) * 0.4F), 0};
  SerialParallel serial;
  differential_norm_fwd_ref(args);
  EXPECT_EQ(c.y[0], expected[0]);
  EXPECT_EQ(c.y[1], expected[1]);
  testing::for_each_level([&] {
    c.y[0] = c.y[1] = 9;
    differential_norm_fwd_cpu(args, serial);
    EXPECT_EQ(c.y[0], expected[0]);
    EXPECT_EQ(c.y[1], expected[1]);
  });
}

// Sums of squares differ in their last digits, and with them now and then a rounding.
TEST(DifferentialNorm, StepsOfBf16AreThoseOfTheReference) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (Shape shape : kShapes) {
      Case ref(shape), cpu(shape);
      for (Case* c : {&ref, &cpu}) {
        for (Buffer* values : {&c->x, &c->weight}) {
          for (int64_t i = 0; i < values->size(); ++i) (*values)[i] = round_to_bfloat16((*values)[i]);
        }
        c->lambda = round_to_bfloat16(c->lambda);
      }
      DifferentialNormFwd by_ref = ref.fwd(), by_cpu = cpu.fwd();
      by_ref.bf16_steps = by_cpu.bf16_steps = true;
      by_ref.rstd = by_cpu.rstd = nullptr;
      differential_norm_fwd_ref(by_ref);
      differential_norm_fwd_cpu(by_cpu, pool);
      int64_t different = 0;
      for (int64_t i = 0; i < ref.y.size(); ++i) {
        EXPECT_EQ(cpu.y[i], round_to_bfloat16(cpu.y[i]));
        EXPECT_NEAR(cpu.y[i], ref.y[i], 0.02F * std::fabs(ref.y[i]));
        different += cpu.y[i] != ref.y[i] ? 1 : 0;
      }
      EXPECT_LE(different, 1 + ref.y.size() / 50);
      EXPECT_TRUE(cpu.y.intact());
    }
  });
}

TEST(DifferentialNorm, LambdaInStepsOfBf16) {
  const std::vector<float> q1 = {0.5F, 0.25F}, k1 = {0.3F, 0.7F}, q2 = {0.1F, -0.2F}, k2 = {0.6F, 0.9F};
  const LambdaVectors vectors{q1.data(), k1.data(), q2.data(), k2.data(), 2};
  const auto r = [](float x) { return round_to_bfloat16(x); };
  const float one = r(std::exp(r(r(r(0.5F) * r(0.3F)) + r(r(0.25F) * r(0.7F)))));
  const float two = r(std::exp(r(r(r(0.1F) * r(0.6F)) + r(r(-0.2F) * r(0.9F)))));
  EXPECT_EQ(differential_lambda_bf16(vectors, 0.7), r(r(one - two) + 0.7F));
  EXPECT_NEAR(differential_lambda_bf16(vectors, 0.7), differential_lambda_fwd(vectors, 0.7), 2e-2);
}

TEST(DifferentialNorm, RefBackwardIsTheDerivativeOfForward) {
  Case c({3, 2, 6});
  differential_norm_fwd_ref(c.fwd());
  differential_norm_bwd_ref(c.bwd());
  const auto loss = [&] {
    differential_norm_fwd_ref(c.fwd());
    return testing::dot(c.y, c.grad_y);
  };
  testing::expect_gradient(c.x, c.grad_x, loss);
  testing::expect_gradient(c.weight, c.grad_weight, loss);
  Buffer lambda(1, c.lambda);
  testing::expect_gradient(lambda, c.grad_lambda, [&] {
    c.lambda = lambda[0];
    return loss();
  });
}

TEST(DifferentialNorm, CpuEqualsRef) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (Shape shape : kShapes) {
      Case ref(shape), cpu(shape);
      differential_norm_fwd_ref(ref.fwd());
      differential_norm_fwd_cpu(cpu.fwd(), pool);
      EXPECT_LE(testing::relative_error(cpu.y, ref.y), 1e-6) << shape.rows << "x" << shape.dim;
      EXPECT_LE(testing::relative_error(cpu.rstd, ref.rstd), 1e-6);
      differential_norm_bwd_ref(ref.bwd());
      differential_norm_bwd_cpu(cpu.bwd(), pool);
      EXPECT_LE(testing::relative_error(cpu.grad_x, ref.grad_x), 2e-6) << shape.rows << "x" << shape.dim;
      EXPECT_LE(testing::relative_error(cpu.grad_weight, ref.grad_weight), 5e-6);
      EXPECT_LE(testing::relative_error(cpu.grad_lambda, ref.grad_lambda), 2e-5);
      EXPECT_TRUE(cpu.y.intact() && cpu.rstd.intact() && cpu.grad_x.intact() && cpu.grad_weight.intact());
    }
  });
}

TEST(DifferentialNorm, BitsDoNotDependOnThreadsOrCompany) {
  testing::for_each_level([&] {
    SerialParallel serial;
    ThreadPool pool(4);
    const Shape shape = {130, 2, 66};
    Case one(shape), many(shape);
    differential_norm_fwd_cpu(one.fwd(), serial);
    differential_norm_fwd_cpu(many.fwd(), pool);
    EXPECT_TRUE(testing::same_bits(one.y, many.y));
    differential_norm_bwd_cpu(one.bwd(), serial);
    differential_norm_bwd_cpu(many.bwd(), pool);
    EXPECT_TRUE(testing::same_bits(one.grad_x, many.grad_x));
    EXPECT_TRUE(testing::same_bits(one.grad_weight, many.grad_weight));
    EXPECT_TRUE(testing::same_bits(one.grad_lambda, many.grad_lambda));
    Buffer alone(2 * 66);
    DifferentialNormFwd args = one.fwd();
    args.x += 77 * 4 * 66;
    args.y = alone.data();
    args.rstd = nullptr;
    args.rows = 1;
    differential_norm_fwd_cpu(args, serial);
    EXPECT_EQ(std::memcmp(alone.data(), one.y.data() + 77 * 2 * 66, 2 * 66 * sizeof(float)), 0);
  });
}

TEST(DifferentialNorm, LambdaOfEqualVectorsIsWhatItStartsFrom) {
  const Buffer a = Buffer::normal(8, 1, 0.1F), b = Buffer::normal(8, 2, 0.1F);
  const LambdaVectors same = {a.data(), b.data(), a.data(), b.data(), 8};
  EXPECT_EQ(differential_lambda_fwd(same, 0.25), 0.25F);
  const float expected =
      static_cast<float>(std::exp(testing::dot(a, a)) - std::exp(testing::dot(b, b)) + 0.25);
  EXPECT_EQ(differential_lambda_fwd({a.data(), a.data(), b.data(), b.data(), 8}, 0.25), expected);
}

TEST(DifferentialNorm, LambdaBackwardIsTheDerivativeOfForward) {
  Buffer v[4] = {Buffer::normal(5, 1, 0.3F), Buffer::normal(5, 2, 0.3F), Buffer::normal(5, 3, 0.3F),
                 Buffer::normal(5, 4, 0.3F)};
  Buffer grad[4] = {Buffer(5), Buffer(5), Buffer(5), Buffer(5)};
  const LambdaVectors vectors = {v[0].data(), v[1].data(), v[2].data(), v[3].data(), 5};
  differential_lambda_bwd(vectors, 1.5F, {grad[0].data(), grad[1].data(), grad[2].data(), grad[3].data()});
  for (int i = 0; i < 4; ++i) {
    testing::expect_gradient(v[i], grad[i], [&] { return 1.5 * differential_lambda_fwd(vectors, 0.3); });
    EXPECT_TRUE(grad[i].intact());
  }
}

}  // namespace
}  // namespace fathom::kernels
