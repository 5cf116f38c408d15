#include "kernels/causal_conv1d/causal_conv1d.h"

#include <vector>

#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

const RowRange kSequences[] = {{0, 11}, {11, 12}, {12, 30}};

struct Case {
  Case(int64_t c, int64_t w)
      : channels(c),
        width(w),
        x(Buffer::normal(30 * c, 1)),
        weight(Buffer::normal(c * w, 2)),
        bias(Buffer::normal(c, 3)),
        grad_y(Buffer::normal(30 * c, 4)),
        y(30 * c),
        grad_x(30 * c),
        grad_weight(c * w),
        grad_bias(c),
        states(Buffer::normal(3 * (w - 1) * c, 5)) {
    for (const RowRange& rows : kSequences) sequences.push_back({rows, nullptr});
  }
  void carry_states() {
    for (int64_t s = 0; s < 3; ++s)
      sequences[static_cast<size_t>(s)].state = states.data() + s * (width - 1) * channels;
  }
  CausalConv1dFwd fwd() {
    return {x.data(), weight.data(), bias.data(), y.data(), sequences.data(), 3, channels, width};
  }
  CausalConv1dBwd bwd() {
    return {x.data(),      weight.data(),      bias.data(),      grad_y.data(), kSequences, 3,
            grad_x.data(), grad_weight.data(), grad_bias.data(), channels,      width};
  }
  int64_t channels, width;
  Buffer x, weight, bias, grad_y, y, grad_x, grad_weight, grad_bias, states;
  std::vector<ConvSequence> sequences;
};

TEST(CausalConv1d, TheLastTapMultipliesTheCurrentInput) {
  Case c(1, 4);
  for (int64_t k = 0; k < 4; ++k) c.weight[k] = k == 3 ? 1.0F : 0.0F;
  c.bias[0] = 0;
  causal_conv1d_fwd_ref(c.fwd());
  for (int64_t t = 0; t < 30; ++t) EXPECT_NEAR(c.y[t], c.x[t] / (1 + std::exp(-c.x[t])), 1e-6);
}

TEST(CausalConv1d, RefBackwardIsTheDerivativeOfForward) {
  Case c(2, 4);
  causal_conv1d_bwd_ref(c.bwd());
  const auto loss = [&] {
    causal_conv1d_fwd_ref(c.fwd());
    return testing::dot(c.y, c.grad_y);
  };
  testing::expect_gradient(c.x, c.grad_x, loss);
  testing::expect_gradient(c.weight, c.grad_weight, loss);
  testing::expect_gradient(c.bias, c.grad_bias, loss);
}

TEST(CausalConv1d, CpuEqualsRefForAnyThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (int64_t width :
         {1, 2, 4, 7, 13}) {  // 13: more taps than are kept in registers, and than rows at hand
      for (int64_t channels : {1, 7, 16, 37, 150}) {
        Case ref(channels, width), cpu(channels, width), alone(channels, width);
        for (Case* c : {&ref, &cpu, &alone}) c->carry_states();
        causal_conv1d_fwd_ref(ref.fwd());
        causal_conv1d_fwd_cpu(cpu.fwd(), pool);
        causal_conv1d_fwd_cpu(alone.fwd(), serial);
        EXPECT_LE(testing::relative_error(cpu.y, ref.y), 2e-6) << width << " " << channels;
        EXPECT_TRUE(testing::same_bits(cpu.states, ref.states));
        EXPECT_TRUE(testing::same_bits(cpu.y, alone.y));
        causal_conv1d_bwd_ref(ref.bwd());
        causal_conv1d_bwd_cpu(cpu.bwd(), pool);
        EXPECT_LE(testing::relative_error(cpu.grad_x, ref.grad_x), 3e-6);
        EXPECT_LE(testing::relative_error(cpu.grad_weight, ref.grad_weight), 5e-6);
        EXPECT_LE(testing::relative_error(cpu.grad_bias, ref.grad_bias), 5e-6);
        causal_conv1d_bwd_cpu(alone.bwd(), serial);
        EXPECT_TRUE(testing::same_bits(cpu.grad_x, alone.grad_x) &&
                    testing::same_bits(cpu.grad_weight, alone.grad_weight) &&
                    testing::same_bits(cpu.grad_bias, alone.grad_bias));
        EXPECT_TRUE(cpu.y.intact() && cpu.grad_x.intact() && cpu.grad_weight.intact());
      }
    }
  });
}

TEST(CausalConv1d, WithoutABiasIsWithABiasOfZero) {
  SerialParallel serial;
  const auto fwd_of = [](Case& c) {
    CausalConv1dFwd args = c.fwd();
    args.bias = nullptr;
    return args;
  };
  const auto bwd_of = [](Case& c) {
    CausalConv1dBwd args = c.bwd();
    args.bias = nullptr;
    args.grad_bias = nullptr;
    return args;
  };
  testing::for_each_level([&] {
    for (int64_t width : {4, 13}) {
      Case zero(37, width), none(37, width), ref(37, width);
      for (int64_t i = 0; i < 37; ++i) zero.bias[i] = 0.0F;
      for (Case* c : {&zero, &none, &ref}) c->carry_states();
      causal_conv1d_fwd_cpu(zero.fwd(), serial);
      causal_conv1d_fwd_cpu(fwd_of(none), serial);
      EXPECT_TRUE(testing::same_bits(none.y, zero.y) && testing::same_bits(none.states, zero.states));
      causal_conv1d_bwd_cpu(zero.bwd(), serial);
      causal_conv1d_bwd_cpu(bwd_of(none), serial);
      EXPECT_TRUE(testing::same_bits(none.grad_x, zero.grad_x) &&
                  testing::same_bits(none.grad_weight, zero.grad_weight));
      causal_conv1d_fwd_ref(fwd_of(ref));
      EXPECT_LE(testing::relative_error(none.y, ref.y), 2e-6);
      causal_conv1d_bwd_ref(bwd_of(ref));
      EXPECT_LE(testing::relative_error(none.grad_weight, ref.grad_weight), 5e-6);
    }
  });
}

TEST(CausalConv1d, CutsDoNotChangeABit) {
  SerialParallel serial;
  testing::for_each_level([&] {
    for (int64_t width : {1, 4, 11}) {
      for (uint64_t draw = 0; draw < 20; ++draw) {
        Case whole(19, width), cut(19, width);
        whole.carry_states();
        cut.carry_states();
        causal_conv1d_fwd_cpu(whole.fwd(), serial);
        // Every sequence in pieces of 1 to 6 rows, most of them shorter than the widest state.
        RandomStream random(draw, static_cast<uint64_t>(width));
        for (size_t s = 0; s < 3; ++s) {
          for (int64_t from = kSequences[s].begin; from < kSequences[s].end;) {
            const auto length = 1 + static_cast<int64_t>(random.next_uniform() * 6);
            const int64_t to = std::min(from + length, kSequences[s].end);
            ConvSequence piece{{from, to}, cut.sequences[s].state};
            CausalConv1dFwd args = cut.fwd();
            args.sequences = &piece;
            args.num_sequences = 1;
            causal_conv1d_fwd_cpu(args, serial);
            from = to;
          }
        }
        EXPECT_TRUE(testing::same_bits(cut.y, whole.y)) << width << " " << draw;
        EXPECT_TRUE(testing::same_bits(cut.states, whole.states)) << width << " " << draw;
      }
    }
  });
}

}  // namespace
}  // namespace fathom::kernels
