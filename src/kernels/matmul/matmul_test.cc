#include "kernels/matmul/matmul.h"

#include <optional>
#include <vector>

#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Shape {
  int64_t rows, columns, k;
};

// Around every tile and vector width, one of each extent, nothing to sum, an odd k, several blocks of k and
// several groups of rows.
const Shape kShapes[] = {{1, 1, 1},     {1, 33, 9},  {2, 16, 8},    {14, 32, 64},  {15, 31, 5},
                         {5, 3, 0},     {28, 64, 2}, {13, 65, 37},  {101, 40, 66}, {3, 5, 1024},
                         {11, 6, 1101}, {4, 9, 513}, {300, 33, 450}};

constexpr MatmulPrecision kPrecisions[] = {MatmulPrecision::kF32DoubleSums, MatmulPrecision::kF32,
                                           MatmulPrecision::kBF16};

struct Case {
  Case(Shape s, bool transpose_a, bool transpose_b, bool add)
      : shape(s),
        a(Buffer::normal((s.rows + 3) * (s.k + 3), 1)),
        b(Buffer::normal((s.columns + 3) * (s.k + 3), 2)),
        c(s.rows * (s.columns + 2), add ? 0.5F : std::numeric_limits<float>::quiet_NaN()),
        accumulate(add) {
    left = operand(a, s.rows, transpose_a);
    right = operand(b, s.columns, transpose_b);
  }
  MatmulOperand operand(const Buffer& buffer, int64_t count, bool transposed) const {
    return {buffer.data(), count, shape.k, (transposed ? count : shape.k) + 1, transposed};
  }
  void run(MatmulPrecision precision, Parallel& parallel) {
    const auto packed = [&](const MatmulOperand& from, MatmulSide side) {
      std::vector<char> bytes(
          static_cast<size_t>(matmul_packed_bytes(from.count, from.k, side, precision) + 1));
      matmul_pack_cpu(from, side, precision, bytes.data() + 1, parallel);
      return bytes;
    };
    const std::vector<char> pa = packed(left, MatmulSide::kRows), pb = packed(right, MatmulSide::kColumns);
    matmul_cpu({.a = pa.data() + 1,
                .b = pb.data() + 1,
                .c = c.data(),
                .rows = shape.rows,
                .columns = shape.columns,
                .k = shape.k,
                .c_stride = shape.columns + 2,
                .scale = 0.75F,
                .accumulate = accumulate,
                .precision = precision},
               parallel);
  }
  void run_ref(MatmulPrecision precision) {
    matmul_ref({left, right, c.data(), shape.columns + 2, 0.75F, accumulate, precision});
  }
  // The outputs without what lies between the rows.
  Buffer outputs() const {
    Buffer dense(shape.rows * shape.columns);
    for (int64_t r = 0; r < shape.rows; ++r) {
      for (int64_t j = 0; j < shape.columns; ++j)
        dense[r * shape.columns + j] = c[r * (shape.columns + 2) + j];
    }
    return dense;
  }
  Shape shape;
  Buffer a, b, c;
  MatmulOperand left, right;
  bool accumulate;
};

TEST(Matmul, RefOfTheIdentityIsTheOtherOperand) {
  Case c({4, 5, 4}, false, true, false);
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t k = 0; k < 4; ++k) c.a[i * 5 + k] = i == k ? 2.0F : 0.0F;
  }
  c.run_ref(MatmulPrecision::kF32DoubleSums);
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 5; ++j) EXPECT_EQ(c.c[i * 7 + j], 1.5F * c.b[i * 6 + j]);
  }
}

TEST(Matmul, CpuEqualsRef) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (MatmulPrecision precision : kPrecisions) {
      for (const Shape& shape : kShapes) {
        for (int form = 0; form < 8; ++form) {
          const bool transpose_a = (form & 1) != 0, transpose_b = (form & 2) != 0, add = (form & 4) != 0;
          Case ref(shape, transpose_a, transpose_b, add), cpu(shape, transpose_a, transpose_b, add);
          ref.run_ref(precision);
          cpu.run(precision, pool);
          const double limit = precision == MatmulPrecision::kF32DoubleSums ? 3e-7 : 2e-6;
          EXPECT_LE(testing::relative_error(cpu.outputs(), ref.outputs()), limit)
              << shape.rows << "x" << shape.columns << "x" << shape.k << " form " << form << " precision "
              << static_cast<int>(precision);
          EXPECT_TRUE(cpu.c.intact());
          const float between = cpu.c[shape.columns];
          EXPECT_TRUE(add ? between == 0.5F : std::isnan(between));
        }
      }
    }
  });
}

// Sums in double forget the width of the vectors.
TEST(Matmul, FloatProductsHaveTheSameBitsAtEveryLevel) {
  SerialParallel serial;
  for (const Shape& shape : kShapes) {
    std::optional<Buffer> first;
    testing::for_each_level([&] {
      Case c(shape, true, false, true);
      c.run(MatmulPrecision::kF32DoubleSums, serial);
      if (!first) first = c.outputs();
      EXPECT_TRUE(testing::same_bits(c.outputs(), *first))
          << shape.rows << "x" << shape.columns << "x" << shape.k;
    });
  }
}

// Rows alone and in company, columns alone and in company, one and many threads.
TEST(Matmul, BitsDependOnNothingButTheirOwnRowAndColumn) {
  ThreadPool pool(4);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (MatmulPrecision precision : kPrecisions) {
      Case whole({67, 75, 450}, false, false, false);
      whole.run(precision, pool);
      const Buffer expected = whole.outputs();
      for (int64_t first : {0, 1, 13, 20}) {
        for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {29, 40}}) {
          Case part({rows, columns, 450}, false, false, false);
          part.left.data = whole.left.data + first * whole.left.stride;
          part.right.data = whole.right.data + (first + 2) * whole.right.stride;
          part.run(precision, serial);
          const Buffer found = part.outputs();
          for (int64_t r = 0; r < rows; ++r) {
            for (int64_t j = 0; j < columns; ++j) {
              ASSERT_EQ(found[r * columns + j], expected[(first + r) * 75 + first + 2 + j]) << first;
            }
          }
        }
      }
    }
  });
}

// A value that is no number stays one through the rounding, and touches its own row only.
TEST(Matmul, NanStaysInItsRow) {
  SerialParallel serial;
  testing::for_each_level([&] {
    for (MatmulPrecision precision : kPrecisions) {
      for (bool transposed : {false, true}) {
        Case c({20, 40, 33}, transposed, false, false);
        c.a[transposed ? 32 * 21 + 17 : 17 * 34 + 32] = std::numeric_limits<float>::quiet_NaN();
        c.run(precision, serial);
        const Buffer found = c.outputs();
        for (int64_t i = 0; i < found.size(); ++i) ASSERT_EQ(std::isnan(found[i]), i / 40 == 17) << i;
      }
    }
  });
}

}  // namespace
}  // namespace fathom::kernels
