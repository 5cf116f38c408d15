#include "io/finite_values.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "base/half.h"
#include "io/safetensors_writer.h"

namespace fathom {
namespace {

const std::string kPath =
    (std::filesystem::temp_directory_path() / ("finite-" + std::to_string(::getpid()) + ".safetensors"))
        .string();

// Writes `count` values of which the one at `at` is `odd`.
template <class Stored>
std::string answer(DType type, Stored usual, Stored odd, size_t count, size_t at) {
  std::vector<Stored> values(count, usual), good(count, usual);
  values[at] = odd;
  const std::vector<int64_t> shape = {static_cast<int64_t>(count)};
  EXPECT_TRUE(
      write_safetensors(kPath, {view_of("a", type, shape, good), view_of("b", type, shape, values)}).ok());
  const Result<WeightFiles> files = WeightFiles::open(kPath);
  EXPECT_TRUE(files.ok());
  EXPECT_EQ(first_not_finite(files->tensors()[0]), std::nullopt);
  const Status status = check_finite(*files);
  std::filesystem::remove(kPath);
  return status.ok() ? "finite" : status.error().message;
}

std::string sentence(size_t at, const std::string& what) {
  return kPath + ": tensor b: element " + std::to_string(at) + " is " + what + ", expected finite values";
}

TEST(FiniteValues, AreFoundInEveryFormatWhereverTheyStand) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const size_t at : {size_t{0}, size_t{4095}, size_t{4096}, size_t{9998}}) {
    EXPECT_EQ(answer<float>(DType::kF32, 1, std::nanf(""), 9999, at), sentence(at, "not a number"));
    EXPECT_EQ(answer<float>(DType::kF32, -2, -kInf, 9999, at), sentence(at, "infinite"));
    EXPECT_EQ(answer<double>(DType::kF64, 3, std::nan(""), 9999, at), sentence(at, "not a number"));
    EXPECT_EQ(answer<BFloat16>(DType::kBF16, to_bfloat16(1), to_bfloat16(kInf), 9999, at),
              sentence(at, "infinite"));
    EXPECT_EQ(answer<BFloat16>(DType::kBF16, to_bfloat16(1), to_bfloat16(std::nanf("")), 9999, at),
              sentence(at, "not a number"));
    EXPECT_EQ(answer<Half>(DType::kF16, to_half(1), to_half(kInf), 9999, at), sentence(at, "infinite"));
  }
}

TEST(FiniteValues, TheLargestAndIntegersOfAllBitsAreFinite) {
  EXPECT_EQ(answer<float>(DType::kF32, 1, std::numeric_limits<float>::max(), 10, 3), "finite");
  EXPECT_EQ(answer<double>(DType::kF64, 1, std::numeric_limits<double>::lowest(), 10, 3), "finite");
  EXPECT_EQ(answer<int32_t>(DType::kI32, 1, -1, 10, 3), "finite");
  EXPECT_EQ(answer<uint16_t>(DType::kU16, 1, 0xffff, 10, 3), "finite");
}

}  // namespace
}  // namespace fathom
