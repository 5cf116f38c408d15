#include "kernels/adapted_norms/adapted_norms.h"

#include <vector>

#include "base/half.h"
#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Case {
  Case(int64_t outs, int64_t ins, int64_t ranks, DType values, bool int8_weight = false)
      : out(outs),
        in(ins),
        rank(ranks),
        type(values),
        int8(int8_weight),
        scale(Buffer::normal(outs, 4)),
        weight(Buffer::normal(outs * ins, 1)),
        a(Buffer::normal(ranks * ins, 2)),
        b(Buffer::normal(outs * ranks, 3)),
        norms(outs) {
    for (int64_t i = 0; i < weight.size(); ++i) whole.push_back(static_cast<int8_t>(30 * weight[i]));
    for (const Buffer* values_of : {&weight, &a, &b}) {
      std::vector<BFloat16>& to = halves.emplace_back(1);  // an odd place
      for (int64_t i = 0; i < values_of->size(); ++i) to.push_back(to_bfloat16((*values_of)[i]));
    }
  }
  AdaptedNorms args() {
    const bool half = type == DType::kBF16;
    return {.weight = int8   ? static_cast<const void*>(whole.data())
                      : half ? static_cast<const void*>(halves[0].data() + 1)
                             : weight.data(),
            .a = half ? static_cast<const void*>(halves[1].data() + 1) : a.data(),
            .b = half ? static_cast<const void*>(halves[2].data() + 1) : b.data(),
            .type = type,
            .norms = norms.data(),
            .in = in,
            .out = out,
            .rank = rank,
            .scaling = 0.5F,
            .weight_scale = int8 ? scale.data() : nullptr};
  }
  int64_t out, in, rank;
  DType type;
  bool int8;
  Buffer scale, weight, a, b, norms;
  std::vector<int8_t> whole;
  std::vector<std::vector<BFloat16>> halves;
};

TEST(AdaptedNorms, RefOfOneElementIsItsSize) {
  Case c(1, 1, 1, DType::kF32);
  c.weight[0] = -3;
  c.a[0] = 2;
  c.b[0] = -4;
  adapted_norms_fwd_ref(c.args());
  EXPECT_FLOAT_EQ(c.norms[0], 3 + 0.5F * 8);
}

TEST(AdaptedNorms, RefWithoutAChangeIsTheNormOfTheRow) {
  Case c(3, 7, 2, DType::kF32);
  for (int64_t i = 0; i < c.b.size(); ++i) c.b[i] = 0;
  adapted_norms_fwd_ref(c.args());
  for (int64_t o = 0; o < 3; ++o) {
    double squares = 0;
    for (int64_t i = 0; i < 7; ++i) squares += double{c.weight[o * 7 + i]} * c.weight[o * 7 + i];
    EXPECT_NEAR(c.norms[o], std::sqrt(squares), 1e-6);
  }
}

TEST(AdaptedNorms, CpuEqualsRefForAnyThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    const std::pair<DType, bool> types[] = {
        {DType::kF32, false}, {DType::kBF16, false}, {DType::kF32, true}, {DType::kBF16, true}};
    for (const auto& [type, int8] : types) {
      for (const auto& [out, in, rank] :
           {std::array<int64_t, 3>{1, 1, 1}, {40, 33, 5}, {5, 16, 16}, {67, 960, 3}}) {
        Case ref(out, in, rank, type, int8), cpu(out, in, rank, type, int8), alone(out, in, rank, type, int8);
        adapted_norms_fwd_ref(ref.args());
        adapted_norms_fwd_cpu(cpu.args(), pool);
        adapted_norms_fwd_cpu(alone.args(), serial);
        EXPECT_LE(testing::relative_error(cpu.norms, ref.norms), 2e-6) << out << "x" << in << "x" << rank;
        EXPECT_TRUE(testing::same_bits(cpu.norms, alone.norms));
        EXPECT_TRUE(cpu.norms.intact());
      }
    }
  });
}

}  // namespace
}  // namespace fathom::kernels
