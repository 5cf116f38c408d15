#include "kernels/gated_memory/gated_memory.h"

#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Case {
  Case(int64_t n, int64_t d, bool normalise)
      : rows(n),
        dim(d),
        normalised(normalise),
        memory(Buffer::normal(n * d, 1)),
        gate(Buffer::normal(n * d, 2, 2.0F)),
        weight(Buffer::normal(d, 3, 0.3F, 1.0F)),
        grad_y(Buffer::normal(n * d, 4)),
        y(n * d),
        rstd(n),
        grad_memory(n * d),
        grad_gate(n * d),
        grad_weight(d),
        workspace(gated_memory_bwd_workspace(n, d)) {}
  GatedMemoryFwd fwd() {
    return {memory.data(),
            gate.data(),
            normalised ? weight.data() : nullptr,
            y.data(),
            normalised ? rstd.data() : nullptr,
            rows,
            dim,
            1e-5F};
  }
  GatedMemoryBwd bwd() {
    return {memory.data(),
            gate.data(),
            normalised ? weight.data() : nullptr,
            rstd.data(),
            grad_y.data(),
            grad_memory.data(),
            grad_gate.data(),
            normalised ? grad_weight.data() : nullptr,
            workspace.data(),
            rows,
            dim};
  }
  int64_t rows, dim;
  bool normalised;
  Buffer memory, gate, weight, grad_y, y, rstd, grad_memory, grad_gate, grad_weight, workspace;
};

TEST(GatedMemory, TheActivationIsOnTheGateNotOnTheMemory) {
  Case c(1, 2, false);
  c.memory[0] = -3.0F;
  c.gate[0] = 50.0F;
  c.memory[1] = 50.0F;
  c.gate[1] = -3.0F;
  gated_memory_fwd_ref(c.fwd());
  EXPECT_FLOAT_EQ(c.y[0], -150.0F);
  EXPECT_FLOAT_EQ(c.y[1], 50.0F * -3.0F / (1.0F + std::exp(3.0F)));
}

TEST(GatedMemory, RefBackwardIsTheDerivativeOfForward) {
  for (bool normalised : {false, true}) {
    Case c(3, 7, normalised);
    gated_memory_fwd_ref(c.fwd());
    gated_memory_bwd_ref(c.bwd());
    const auto loss = [&] {
      gated_memory_fwd_ref(c.fwd());
      return testing::dot(c.y, c.grad_y);
    };
    testing::expect_gradient(c.memory, c.grad_memory, loss);
    testing::expect_gradient(c.gate, c.grad_gate, loss);
    if (normalised) testing::expect_gradient(c.weight, c.grad_weight, loss);
  }
}

TEST(GatedMemory, CpuEqualsRefForAnyThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (bool normalised : {false, true}) {
      for (int64_t dim : {3, 8, 33, 128}) {
        Case ref(70, dim, normalised), cpu(70, dim, normalised), alone(70, dim, normalised);
        gated_memory_fwd_ref(ref.fwd());
        gated_memory_fwd_cpu(cpu.fwd(), pool);
        gated_memory_fwd_cpu(alone.fwd(), serial);
        EXPECT_LE(testing::relative_error(cpu.y, ref.y), 2e-6) << dim;
        EXPECT_TRUE(testing::same_bits(cpu.y, alone.y));
        gated_memory_bwd_ref(ref.bwd());
        gated_memory_bwd_cpu(cpu.bwd(), pool);
        gated_memory_bwd_cpu(alone.bwd(), serial);
        EXPECT_LE(testing::relative_error(cpu.grad_memory, ref.grad_memory), 5e-6) << dim;
        EXPECT_LE(testing::relative_error(cpu.grad_gate, ref.grad_gate), 5e-6) << dim;
        EXPECT_TRUE(testing::same_bits(cpu.grad_memory, alone.grad_memory));
        if (normalised) {
          EXPECT_LE(testing::relative_error(cpu.grad_weight, ref.grad_weight), 5e-6);
          EXPECT_TRUE(testing::same_bits(cpu.grad_weight, alone.grad_weight));
        }
        EXPECT_TRUE(cpu.y.intact() && cpu.grad_memory.intact() && cpu.grad_gate.intact());
      }
    }
  });
}

TEST(GatedMemory, InPlaceGivesTheSame) {
  Case apart(5, 31, false), inplace(5, 31, false);
  SerialParallel serial;
  gated_memory_fwd_cpu(apart.fwd(), serial);
  GatedMemoryFwd args = inplace.fwd();
  args.y = inplace.gate.data();
  gated_memory_fwd_cpu(args, serial);
  EXPECT_TRUE(testing::same_bits(inplace.gate, apart.y));
}

}  // namespace
}  // namespace fathom::kernels
