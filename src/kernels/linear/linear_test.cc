#include "kernels/linear/linear.h"

#include <array>
#include <vector>

#include "base/half.h"
#include "base/int4.h"
#include "kernels/common/testing.h"
#include "kernels/linear/linear_levels.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Shape {
  int64_t rows, in, out;
};

// Around every tile, step and block, on both sides of the line between streaming and tiles, one of each
// extent, no inputs at all, several blocks of rows.
const Shape kShapes[] = {{1, 1, 1},     {1, 33, 9},   {2, 16, 8},    {3, 64, 4},    {4, 9, 5},   {5, 0, 3},
                         {7, 31, 13},   {13, 65, 37}, {16, 97, 20},  {17, 97, 20},  {18, 0, 3},  {1, 40, 131},
                         {101, 40, 66}, {3, 1024, 5}, {19, 1100, 6}, {260, 33, 51}, {9, 2700, 7}};

struct WeightType {
  DType type;
  int64_t group = 0;
};
const WeightType kTypes[] = {{DType::kF32},    {DType::kBF16},   {DType::kI8},
                             {DType::kI4, 32}, {DType::kI4, 64}, {DType::kI4, 128}};

std::string name(WeightType of) {
  return std::string(name_of(of.type)) + (of.group > 0 ? " in groups of " + std::to_string(of.group) : "");
}

struct Case {
  Case(Shape s, DType weight_type, bool accumulate_into)
      : Case(s, WeightType{weight_type}, accumulate_into) {}
  Case(Shape s, WeightType weight_type, bool accumulate_into)
      : shape(s),
        type(weight_type.type),
        group(weight_type.group),
        accumulate(accumulate_into),
        x(Buffer::normal(s.rows * (s.in + 3), 1)),
        weight(Buffer::normal(s.out * s.in, 2)),
        bias(Buffer::normal(s.out, 3)),
        out_scale(Buffer::normal(s.out, 4)),
        weight_scale(Buffer::normal(s.out, 5)),
        y(s.rows * (s.out + 2), accumulate_into ? 0.5F : std::numeric_limits<float>::quiet_NaN()),
        workspace(static_cast<size_t>(linear_fwd_workspace(s.rows, s.in, weight_type.type))) {
    for (int64_t r = 0; r < s.rows; ++r) {  // what lies between rows is not read
      for (int64_t i = s.in; i < s.in + 3; ++i)
        x[r * (s.in + 3) + i] = std::numeric_limits<float>::quiet_NaN();
    }
    round_weights();
  }
  void round_weights() {
    half.assign(1, {});  // an odd place, as in a file
    whole.assign(1, 0);
    round_to_int4();
    for (int64_t i = 0; i < weight.size(); ++i) {
      half.push_back(to_bfloat16(weight[i]));
      whole.push_back(
          static_cast<int8_t>(std::lround(std::fmin(std::fmax(40 * weight[i], -128.0F), 127.0F))));
    }
  }
  // Any bits are weights; at an odd place, and of different scales.
  void round_to_int4() {
    RandomStream random(7, 3);
    packed.assign(static_cast<size_t>(1 + shape.out * row_bytes(DType::kI4, shape.in)), 0);
    for (uint8_t& byte : packed) byte = static_cast<uint8_t>(random.next_below(256));
    words.assign(1, 0);
    for (int64_t g = 0; g < shape.out * groups(); ++g) {
      const float scale = 0.01F * static_cast<float>(1 + random.next_below(40));
      const uint16_t word = int4::word_of(scale, static_cast<int>(random.next_below(16)));
      words.push_back(static_cast<uint8_t>(word & 255));
      words.push_back(static_cast<uint8_t>(word >> 8));
    }
  }
  int64_t groups() const { return group > 0 ? int4::groups_of(shape.in, group) : 0; }
  const void* weights() const {
    if (type == DType::kI4) return packed.data() + 1;
    if (type == DType::kF32) return weight.data();
    return type == DType::kBF16 ? static_cast<const void*>(half.data() + 1) : whole.data() + 1;
  }
  LinearFwd args() {
    return {.x = x.data(),
            .weight = weights(),
            .weight_type = type,
            .weight_scale = type == DType::kI8 ? weight_scale.data() : nullptr,
            .groups = type == DType::kI4 ? words.data() + 1 : nullptr,
            .group = group,
            .bias = bias.data(),
            .out_scale = out_scale.data(),
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
  int64_t group;
  bool accumulate;
  Buffer x, weight, bias, out_scale, weight_scale, y;
  std::vector<BFloat16> half;
  std::vector<int8_t> whole;
  std::vector<uint8_t> packed, words;  // of int4
  std::vector<uint8_t> workspace;
};

TEST(Linear, RefMultipliesByTheIdentity) {
  Case c({2, 3, 3}, DType::kF32, false);
  for (int64_t i = 0; i < 9; ++i) c.weight[i] = i % 4 == 0 ? 1.0F : 0.0F;
  LinearFwd args = c.args();
  args.bias = args.out_scale = nullptr;
  args.scale = 1;
  linear_fwd_ref(args);
  for (int64_t r = 0; r < 2; ++r) {
    for (int64_t o = 0; o < 3; ++o) EXPECT_EQ(c.y[r * 5 + o], c.x[r * 6 + o]);
  }
}

TEST(Linear, OutputsAreScaledBeforeTheBiasIsAdded) {
  Case c({1, 1, 2}, DType::kF32, false);
  c.x[0] = 3;
  c.weight[0] = c.weight[1] = 5;
  c.bias[0] = c.bias[1] = 7;
  c.out_scale[0] = 2;
  c.out_scale[1] = -1;
  linear_fwd_ref(c.args());
  EXPECT_FLOAT_EQ(c.y[0], 0.75F * (2 * 15 + 7));
  EXPECT_FLOAT_EQ(c.y[1], 0.75F * (-15 + 7));
}

TEST(Linear, CpuEqualsRef) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (Shape shape : kShapes) {
      for (WeightType type : kTypes) {
        for (bool accumulate : {false, true}) {
          Case ref(shape, type, accumulate), cpu(shape, type, accumulate);
          linear_fwd_ref(ref.args());
          linear_fwd_cpu(cpu.args(), pool);
          EXPECT_LE(testing::relative_error(cpu.outputs(), ref.outputs()), 2e-6)
              << shape.rows << "x" << shape.in << "x" << shape.out << " " << name(type);
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

TEST(Linear, AnOutputReadsItsOwnWeightsOnly) {
  testing::for_each_level([&] {
    for (DType type : {DType::kF32, DType::kBF16}) {
      for (int64_t rows : {1, 5, 18}) {
        Case c({rows, 37, 20}, type, false);
        for (int64_t i = 0; i < 37; ++i) c.weight[7 * 37 + i] = std::numeric_limits<float>::quiet_NaN();
        c.round_weights();
        SerialParallel serial;
        linear_fwd_cpu(c.args(), serial);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t o = 0; o < 20; ++o) EXPECT_EQ(std::isnan(c.y[r * 22 + o]), o == 7) << r << " " << o;
        }
      }
    }
  });
}

// Any cut of rows and outputs, on any number of threads, gives the bits of the whole.
TEST(Linear, APartHasTheBitsOfTheWhole) {
  RandomStream random(11, 1);
  const auto draw = [&](int64_t limit) {
    return static_cast<int64_t>(random.next_below(static_cast<uint64_t>(limit)));
  };
  testing::for_each_level([&] {
    for (int trial = 0; trial < 90; ++trial) {
      const Shape shape{1 + draw(trial % 10 == 0 ? 300 : 40), draw(trial % 7 == 0 ? 3000 : 200),
                        1 + draw(130)};
      const WeightType type = kTypes[trial % 6];
      Case whole(shape, type, false);
      ThreadPool many(1 + static_cast<int>(draw(4))), few(1 + static_cast<int>(draw(2)));
      linear_fwd_cpu(whole.args(), many);
      const int64_t row = draw(shape.rows), rows = 1 + draw(shape.rows - row);
      const int64_t out = draw(shape.out), outs = 1 + draw(shape.out - out);
      Buffer part(rows * outs);
      LinearFwd args = whole.args();
      args.x += row * args.x_stride;
      args.weight = static_cast<const uint8_t*>(args.weight) + out * row_bytes(type.type, args.in);
      args.bias += out;
      args.out_scale += out;
      if (args.weight_scale != nullptr) args.weight_scale += out;
      if (args.groups != nullptr)
        args.groups = static_cast<const uint8_t*>(args.groups) + out * whole.groups() * 2;
      args.y = part.data();
      args.rows = rows;
      args.out = args.y_stride = outs;
      linear_fwd_cpu(args, few);
      int64_t different = 0;
      for (int64_t r = 0; r < rows; ++r) {
        different += std::memcmp(part.data() + r * outs, whole.y.data() + (row + r) * (shape.out + 2) + out,
                                 static_cast<size_t>(outs) * sizeof(float)) != 0;
      }
      EXPECT_EQ(different, 0) << "rows " << row << "+" << rows << " of " << shape.rows << ", in " << shape.in
                              << ", outputs " << out << "+" << outs << " of " << shape.out << ", "
                              << name(type);
      EXPECT_TRUE(part.intact());
    }
  });
}

TEST(Linear, ProductsOfTheSameRowsInOneCallHaveTheBitsOfCallsOfTheirOwn) {
  testing::for_each_level([&] {
    for (WeightType type : kTypes) {
      for (int64_t rows : {1, 3, 40}) {
        Case q({rows, 67, 101}, type, false), k({rows, 67, 48}, type, true), none({rows, 67, 0}, type, false);
        const Buffer before = k.y;
        LinearFwd second = k.args();
        second.x = q.x.data();
        second.workspace = q.workspace.data();
        LinearFwd empty = none.args();
        empty.x = q.x.data();
        empty.workspace = q.workspace.data();
        SerialParallel serial;
        linear_fwd_cpu(q.args(), serial);
        linear_fwd_cpu(second, serial);
        const Buffer q_alone = q.outputs(), k_alone = k.outputs();
        q.y = Buffer(q.y.size());
        k.y = before;
        LinearFwd first = q.args();
        second.y = k.y.data();
        ThreadPool pool(3);
        linear_fwd_cpu(std::array{first, empty, second}, pool);
        EXPECT_TRUE(testing::same_bits(q.outputs(), q_alone));
        EXPECT_TRUE(testing::same_bits(k.outputs(), k_alone));
      }
    }
  });
}

// A row that a part of a matrix of ones copies: what is left of it after it was brought to whole numbers.
TEST(Linear, Int8WeightsMeetRowsOfSixteenBits) {
  Case c({3, 40, 1}, DType::kI8, false);
  for (int64_t i = 0; i < 40; ++i) c.whole[static_cast<size_t>(1 + i)] = i == 7 ? 1 : 0;
  LinearFwd args = c.args();
  args.bias = args.out_scale = nullptr;
  args.scale = 1;
  c.weight_scale[0] = 2;
  testing::for_each_level([&] {
    SerialParallel serial;
    linear_fwd_cpu(args, serial);
    for (int64_t r = 0; r < 3; ++r) {
      float most = 0;
      for (int64_t i = 0; i < 40; ++i) most = std::fmax(most, std::fabs(c.x[r * 43 + i]));
      EXPECT_NEAR(c.y[r * 3], 2 * c.x[r * 43 + 7], 2 * 0.5001 * most / kLinearRowLimit);
    }
  });
}

// The largest products there are, in rows longer than a lane of 32 bits could add up.
TEST(Linear, SumsOfWholeNumbersDoNotOverflow) {
  for (int64_t in : {8192, 8200, 20'011}) {
    Case c({5, in, 3}, DType::kI8, false);
    for (int64_t i = 0; i < c.x.size(); ++i) c.x[i] = -3;
    std::fill(c.whole.begin(), c.whole.end(), int8_t{-128});
    LinearFwd args = c.args();
    args.bias = args.out_scale = nullptr;
    args.scale = 1;
    testing::for_each_level([&] {
      ThreadPool pool(2);
      for (int64_t rows : {1, 5}) {
        args.rows = rows;
        linear_fwd_cpu(args, pool);
        for (int64_t o = 0; o < 3; ++o) {
          const float expected = static_cast<float>(in) * 3 * 128 * c.weight_scale[o];
          EXPECT_NEAR(c.y[o] / expected, 1, 1e-6) << in << " inputs, " << rows << " rows";
        }
      }
    });
  }
}

// Every product the largest there is: the sums of a group are exact, as integers and as floats.
TEST(Linear, SumsOfAGroupAreExact) {
  for (int64_t group : int4::kGroups) {
    for (int64_t in : {group, 5 * group, 7 * group + 20}) {
      Case c({5, in, 3}, WeightType{DType::kI4, group}, false);
      for (int64_t i = 0; i < c.x.size(); ++i) c.x[i] = -kLinearRowLimit;
      std::ranges::fill(c.packed, uint8_t{0xff});
      const uint16_t word = int4::word_of(0.5F, 1);
      for (size_t w = 1; w < c.words.size(); w += 2) std::memcpy(c.words.data() + w, &word, sizeof word);
      LinearFwd args = c.args();
      args.bias = args.out_scale = nullptr;
      args.scale = 1;
      testing::for_each_level([&] {
        ThreadPool pool(2);
        for (int64_t rows : {1, 5}) {
          args.rows = rows;
          linear_fwd_cpu(args, pool);
          for (int64_t o = 0; o < 3; ++o)
            EXPECT_NEAR(c.y[o] / (-7.0F * static_cast<float>(in) * kLinearRowLimit), 1,
                        in == group ? 0 : 1e-6)
                << in << " inputs in groups of " << group << ", " << rows << " rows";
        }
      });
    }
  }
}

// Where each number of a row lies: a row of one input picks the weight of that input.
TEST(Linear, Int4WeightsAreReadWhereTheyLie) {
  for (int64_t group : int4::kGroups) {
    for (int64_t in : {int64_t{1}, int64_t{31}, group, 3 * group + 33, 4 * group, 6 * group + 1}) {
      Case c({1, in, 1}, WeightType{DType::kI4, group}, false);
      LinearFwd args = c.args();
      args.bias = args.out_scale = nullptr;
      args.scale = 1;
      testing::for_each_level([&] {
        for (int64_t i = 0; i < in; ++i) {
          for (int64_t k = 0; k < in; ++k) c.x[k] = k == i ? 1.0F : 0.0F;
          const int4::Place place = int4::place_of(i, in, group);
          uint16_t word;
          std::memcpy(&word, c.words.data() + 1 + 2 * (i / group), sizeof word);
          const int q = c.packed[static_cast<size_t>(1 + place.byte)] >> place.shift & 15;
          const float weight = int4::scale_of(word) * static_cast<float>(q - int4::zero_of(word));
          SerialParallel serial;
          linear_fwd_cpu(args, serial);
          ASSERT_NEAR(c.y[0], weight, 1e-6) << "input " << i << " of " << in << ", groups of " << group;
        }
      });
    }
  }
}

TEST(Linear, RowsOfZerosOfTheSmallestFloatsAndOfWhatIsNoNumber) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const WeightType type : {WeightType{DType::kI8}, WeightType{DType::kI4, 32}}) {
    testing::for_each_level([&] {
      Case c({6, 40, 7}, type, false);
      for (int64_t i = 0; i < 40; ++i) {
        c.x[i] = 0;
        c.x[43 + i] = i % 2 == 0 ? tiny : -tiny;
        c.x[2 * 43 + i] = (i % 3 == 0 ? -1e-40F : 2e-41F);
      }
      c.x[3 * 43 + 39] = std::numeric_limits<float>::quiet_NaN();
      c.x[4 * 43 + 1] = -infinity;
      LinearFwd args = c.args();
      args.bias = args.out_scale = nullptr;
      SerialParallel serial;
      linear_fwd_cpu(args, serial);
      for (int64_t o = 0; o < 7; ++o) {
        EXPECT_EQ(c.y[o], 0);
        EXPECT_LE(std::fabs(c.y[9 + o]), 1e-30F);
        EXPECT_LE(std::fabs(c.y[2 * 9 + o]), 1e-30F);
        EXPECT_TRUE(std::isnan(c.y[3 * 9 + o]) && std::isnan(c.y[4 * 9 + o]));
        EXPECT_TRUE(std::isfinite(c.y[5 * 9 + o]));
      }
    });
  }
}

// Whole numbers are the same on every level, ties and the largest value included.
TEST(Linear, RowsBecomeTheWholeNumbersOfTheReference) {
  for (int64_t in : {1, 15, 64, 777}) {
    Buffer x = Buffer::normal(in, 9);
    if (in > 5) {
      x[3] = -4 * kLinearRowLimit;  // the scale is 4: ties below
      x[4] = 2;
      x[5] = -6;
    }
    std::vector<int16_t> expected(static_cast<size_t>(in));
    const float scale = linear_quantise_row_ref(x.data(), in, expected.data());
    testing::for_each_level([&] {
      const int64_t bytes = FATHOM_SIMD_SELECT(linear_packed_bytes)(in, DType::kI8, 0);
      std::vector<int16_t> packed(static_cast<size_t>(bytes / 2), int16_t{99});
      EXPECT_EQ(FATHOM_SIMD_SELECT(linear_quantise_row)(x.data(), in, packed.data()), scale);
      for (size_t i = 0; i < packed.size(); ++i)
        EXPECT_EQ(packed[i], i < expected.size() ? expected[i] : 0) << i << " of " << in;
    });
  }
}

// The instruction for whole numbers adds what the two instructions before it add.
TEST(Linear, LevelsOfOneWidthAgreeToTheBitOnWholeNumbers) {
  const std::vector<IsaLevel> levels = supported_isa_levels();
  if (levels.back() != IsaLevel::kAvx512Bf16) GTEST_SKIP() << "no dot product of whole numbers here";
  for (Shape shape : kShapes) {
    for (WeightType type : kTypes) {
      if (type.type != DType::kI8 && type.type != DType::kI4) continue;
      Case two(shape, type, false), one(shape, type, false);
      SerialParallel serial;
      {
        ScopedIsaLevel level(IsaLevel::kAvx512);
        linear_fwd_cpu(two.args(), serial);
      }
      ScopedIsaLevel level(IsaLevel::kAvx512Bf16);
      linear_fwd_cpu(one.args(), serial);
      EXPECT_TRUE(testing::same_bits(two.outputs(), one.outputs()))
          << shape.rows << "x" << shape.in << " " << name(type);
    }
  }
}

// What the dot instruction computes: the level without it multiplies and adds in the same order.
TEST(Linear, LevelsOfOneWidthAgreeToTheBit) {
  const std::vector<IsaLevel> levels = supported_isa_levels();
  if (levels.back() != IsaLevel::kAvx512Bf16) GTEST_SKIP() << "no bfloat16 instructions here";
  for (Shape shape : kShapes) {
    Case plain(shape, DType::kBF16, false), dot(shape, DType::kBF16, false);
    SerialParallel serial;
    {
      ScopedIsaLevel level(IsaLevel::kAvx512);
      linear_fwd_cpu(plain.args(), serial);
    }
    ScopedIsaLevel level(IsaLevel::kAvx512Bf16);
    linear_fwd_cpu(dot.args(), serial);
    EXPECT_TRUE(testing::same_bits(plain.outputs(), dot.outputs())) << shape.rows << "x" << shape.in;
  }
}

}  // namespace
}  // namespace fathom::kernels
