// How the matrix products of training are computed (docs/design/008-own-products-in-training.md).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace fathom::train {

enum class Precision : uint8_t {
  kF32,            // float operands, sums in float
  kF32DoubleSums,  // float operands; sums in double where the result is computed with further
  kBF16,           // operands rounded to bfloat16 as they are read, sums in float
};

// The words of recipes and flags.
inline const std::vector<std::pair<const char*, Precision>> kPrecisionWords = {
    {"f32", Precision::kF32}, {"f32-double-sums", Precision::kF32DoubleSums}, {"bf16", Precision::kBF16}};

}  // namespace fathom::train
