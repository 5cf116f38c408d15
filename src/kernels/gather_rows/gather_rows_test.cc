#include "kernels/gather_rows/gather_rows.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

const std::vector<int32_t> kIndex = {0, 2, 3, 7};

struct Case {
  explicit Case(int64_t d)
      : dim(d),
        x(Buffer::normal(4 * d, 1)),
        y(Buffer::normal(9 * d, 2)),
        weights(Buffer::normal(4, 3)),
        grad_y(Buffer::normal(9 * d, 4)),
        grad_x(4 * d),
        grad_weights(4) {}
  ScatterAddRows scatter() { return {x.data(), kIndex.data(), weights.data(), y.data(), 4, dim}; }
  ScatterAddRowsBwd backward() {
    return {x.data(), kIndex.data(), weights.data(), grad_y.data(), grad_x.data(), grad_weights.data(), 4,
            dim};
  }
  int64_t dim;
  Buffer x, y, weights, grad_y, grad_x, grad_weights;
};

TEST(GatherRows, GatherThenScatterIntoZerosReturnsTheKeptRows) {
  Case c(13);
  Buffer kept(4 * 13), back(9 * 13, 0.0F);
  SerialParallel serial;
  gather_rows_cpu({c.y.data(), kIndex.data(), kept.data(), 4, 13}, serial);
  scatter_add_rows_cpu({kept.data(), kIndex.data(), nullptr, back.data(), 4, 13}, serial);
  for (int64_t r = 0; r < 9; ++r) {
    const bool was_kept = std::find(kIndex.begin(), kIndex.end(), r) != kIndex.end();
    for (int64_t d = 0; d < 13; ++d) EXPECT_EQ(back[r * 13 + d], was_kept ? c.y[r * 13 + d] : 0.0F);
  }
}

TEST(GatherRows, RefBackwardIsTheDerivativeOfForward) {
  Case c(5);
  scatter_add_rows_bwd_ref(c.backward());
  const Buffer start = c.y;
  const auto loss = [&] {
    c.y = start;
    scatter_add_rows_ref(c.scatter());
    return testing::dot(c.y, c.grad_y);
  };
  testing::expect_gradient(c.x, c.grad_x, loss);
  testing::expect_gradient(c.weights, c.grad_weights, loss);
}

TEST(GatherRows, CpuEqualsRef) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (int64_t dim : {1, 7, 16, 33}) {
      Case ref(dim), cpu(dim);
      scatter_add_rows_ref(ref.scatter());
      scatter_add_rows_cpu(cpu.scatter(), pool);
      EXPECT_LE(testing::relative_error(cpu.y, ref.y), 1e-6);
      scatter_add_rows_bwd_ref(ref.backward());
      scatter_add_rows_bwd_cpu(cpu.backward(), pool);
      EXPECT_LE(testing::relative_error(cpu.grad_x, ref.grad_x), 1e-6);
      EXPECT_LE(testing::relative_error(cpu.grad_weights, ref.grad_weights), 2e-6);
      EXPECT_TRUE(cpu.y.intact() && cpu.grad_x.intact() && cpu.grad_weights.intact());
    }
  });
}

TEST(GatherRows, IndicesThatRepeatAreRefused) {
  Case c(3);
  const int32_t twice[] = {0, 2, 2, 7};
  SerialParallel serial;
  ScatterAddRows args = c.scatter();
  args.index = twice;
  EXPECT_THROW(scatter_add_rows_cpu(args, serial), CheckFailure);
  ScatterAddRowsBwd backward = c.backward();
  backward.index = twice;
  EXPECT_THROW(scatter_add_rows_bwd_cpu(backward, serial), CheckFailure);
  const int32_t negative[] = {-1, 2, 3, 7};
  EXPECT_THROW(gather_rows_cpu({c.y.data(), negative, c.x.data(), 4, 3}, serial), CheckFailure);
}

}  // namespace
}  // namespace fathom::kernels
