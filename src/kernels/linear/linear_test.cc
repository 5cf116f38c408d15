#include "kernels/linear/linear.h"

#include <vector>

#include "base/half.h"
#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Shape {
  int64_t rows, in, out;
};

// Around every tile and vector width, one of each extent, no inputs at all, several row blocks, several
// panels of inputs with the last one full, short and a single input.
const Shape kShapes[] = {{1, 1, 1},   {1, 33, 9},   {2, 16, 8},    {3, 64, 4},   {4, 9, 5},     {5, 0, 3},
                         {7, 31, 13}, {13, 65, 37}, {101, 40, 66}, {3, 1024, 5}, {11, 1100, 6}, {4, 513, 9}};

struct Case {
  Case(Shape s, DType weight_type, bool accumulate_into)
      : shape(s),
        type(weight_type),
        accumulate(accumulate_into),
        x(Buffer::normal(s.rows * (s.in + 3), 1)),
        weight(Buffer::normal(s.out * s.in, 2)),
        bias(Buffer::normal(s.out, 3)),
        y(s.rows * (s.out + 2), accumulate_into ? 0.5F : std::numeric_limits<float>::quiet_NaN()),
        workspace(static_cast<size_t>(linear_fwd_workspace(s.rows, s.in, weight_type))) {
    for (int64_t i = 0; i < weight.size(); ++i) half.push_back(to_bfloat16(weight[i]));
  }
  LinearFwd args() {
    return {.x = x.data(),
            .weight = type == DType::kF32 ? static_cast<const void*>(weight.data()) : half.data(),
            .weight_type = type,
            .bias = bias.data(),
            .y = y.data(),
            .rows = shape.rows,
            .in = shape.in,
            .out = shape.out,
            .x_stride = shape.in + 3,
            .y_stride = shape.out + 2,
            .scale = 0.75F,
            .accumulate = accumulate,
            .workspace = workspace.data()};
  }
  // The outputs without what lies between the rows.
  Buffer outputs() const {
    Buffer dense(shape.rows * shape.out);
    for (int64_t r = 0; r < shape.rows; ++r) {
      for (int64_t o = 0; o < shape.out; ++o) dense[r * shape.out + o] = y[r * (shape.out + 2) + o];
    }
    return dense;
  }
  Shape shape;
  DType type;
  bool accumulate;
  Buffer x, weight, bias, y;
  std::vector<BFloat16> half;
  std::vector<uint8_t> workspace;
};

TEST(Linear, RefMultipliesByTheIdentity) {
  Case c({2, 3, 3}, DType::kF32, false);
  for (int64_t i = 0; i < 9; ++i) c.weight[i] = i % 4 == 0 ? 1.0F : 0.0F;
  LinearFwd args = c.args();
  args.bias = nullptr;
  args.scale = 1;
  linear_fwd_ref(args);
  for (int64_t r = 0; r < 2; ++r) {
    for (int64_t o = 0; o < 3; ++o) EXPECT_EQ(c.y[r * 5 + o], c.x[r * 6 + o]);
  }
}

TEST(Linear, CpuEqualsRef) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (Shape shape : kShapes) {
      for (DType type : {DType::kF32, DType::kBF16}) {
        for (bool accumulate : {false, true}) {
          Case ref(shape, type, accumulate), cpu(shape, type, accumulate);
          linear_fwd_ref(ref.args());
          linear_fwd_cpu(cpu.args(), pool);
          EXPECT_LE(testing::relative_error(cpu.outputs(), ref.outputs()), 2e-6)
              << shape.rows << "x" << shape.in << "x" << shape.out << " " << name_of(type);
          EXPECT_TRUE(cpu.y.intact());
        }
      }
    }
  });
}

TEST(Linear, TheGapBetweenRowsIsNotTouched) {
  Case c({3, 16, 5}, DType::kF32, false);
  SerialParallel serial;
  linear_fwd_cpu(c.args(), serial);
  for (int64_t r = 0; r < 3; ++r) EXPECT_TRUE(std::isnan(c.y[r * 7 + 5]) && std::isnan(c.y[r * 7 + 6]));
}

TEST(Linear, ARowHasTheSameBitsAloneAndInCompany) {
  testing::for_each_level([&] {
    for (DType type : {DType::kF32, DType::kBF16}) {
      for (int64_t in : {67, 1083}) {  // one panel of inputs, and three
        Case many({101, in, 43}, type, false);
        SerialParallel serial;
        ThreadPool pool(4);
        linear_fwd_cpu(many.args(), pool);
        for (int64_t first : {0, 1, 50, 95}) {
          for (int64_t rows : {1, 2, 5}) {
            Buffer part(rows * 45);
            LinearFwd args = many.args();
            args.x += first * args.x_stride;
            args.y = part.data();
            args.rows = rows;
            linear_fwd_cpu(args, serial);
            for (int64_t r = 0; r < rows; ++r) {
              EXPECT_EQ(
                  std::memcmp(part.data() + r * 45, many.y.data() + (first + r) * 45, 43 * sizeof(float)), 0)
                  << "row " << first + r << " of " << rows;
            }
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace fathom::kernels
