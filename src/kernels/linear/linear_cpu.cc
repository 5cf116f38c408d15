#include <algorithm>

#include "base/check.h"
#include "base/extents.h"
#include "base/int4.h"
#include "kernels/linear/linear_levels.h"

namespace fathom::kernels {

namespace {

constexpr int64_t kOutBlock = 48;             // a multiple of every level's tiles
constexpr int64_t kRowTiles = 12;             // likewise
constexpr int64_t kCachedBytes = 512 * 1024;  // of inputs: half of a second-level cache
constexpr int64_t kLongestStep = 32;          // inputs; a packed row is zero up to the end of its last step
constexpr int64_t kVectorBytes = 64;          // of the widest level
constexpr int64_t kMostVectors = 16;          // of four groups of int4 weights: 4 of each of 4 chunks

void check(std::span<const LinearFwd> products) {
  const LinearFwd& first = products.front();
  const DType type = first.weight_type;
  FATHOM_CHECK(type == DType::kF32 || type == DType::kBF16 || type == DType::kI8 || type == DType::kI4,
               "weights are f32, bf16, int8 or int4");
  FATHOM_CHECK(type == DType::kI4 ? std::ranges::find(int4::kGroups, first.group) != std::end(int4::kGroups)
                                  : first.group == 0,
               "int4 weights have groups of 32, 64 or 128 inputs, others none");
  for (const LinearFwd& product : products) {
    FATHOM_CHECK((product.weight_scale != nullptr) == (type == DType::kI8) || product.out == 0,
                 "scales belong to int8 weights");
    FATHOM_CHECK((product.groups != nullptr) == (type == DType::kI4) || product.out == 0 || product.in == 0,
                 "words of groups belong to int4 weights");
    FATHOM_CHECK(product.x_stride >= product.in && product.y_stride >= product.out, "rows overlap");
    FATHOM_CHECK(product.x == first.x && product.rows == first.rows && product.in == first.in &&
                     product.x_stride == first.x_stride && product.weight_type == first.weight_type &&
                     product.group == first.group && product.workspace == first.workspace,
                 "products of different rows in one call");
  }
}

LinearRows rows_of(const LinearFwd& args, Parallel& parallel) {
  if (args.weight_type == DType::kF32) {
    return {args.x, args.x_stride * static_cast<int64_t>(sizeof(float)), nullptr};
  }
  const auto pack_fn = FATHOM_SIMD_SELECT(linear_pack_row);
  const auto quantise_fn = FATHOM_SIMD_SELECT(linear_quantise_row);
  const auto groups_fn = FATHOM_SIMD_SELECT(linear_quantise_groups);
  const int64_t stride = FATHOM_SIMD_SELECT(linear_packed_bytes)(args.in, args.weight_type, args.group);
  auto* packed = static_cast<uint8_t*>(args.workspace);
  auto* scale =
      args.weight_type == DType::kBF16 ? nullptr : reinterpret_cast<float*>(packed + args.rows * stride);
  parallel.run(args.rows, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* const x = args.x + r * args.x_stride;
      if (args.weight_type == DType::kI4) {
        scale[r] = groups_fn(x, args.in, args.group, packed + r * stride);
      } else if (scale != nullptr) {
        scale[r] = quantise_fn(x, args.in, packed + r * stride);
      } else {
        pack_fn(x, args.in, packed + r * stride);
      }
    }
  });
  return {packed, stride, scale};
}

// Inputs of a block stay in the second-level cache while weights pass by; but weights should not pass too
// often, so with long rows a block's inputs come from further away.
int64_t rows_per_block(int64_t rows, const LinearRows& x) {
  const int64_t most = std::clamp<int64_t>(kCachedBytes / std::max<int64_t>(1, x.stride), 96, 264);
  return round_up(ceil_div(rows, ceil_div(rows, most)), kRowTiles);
}

}  // namespace

int64_t linear_fwd_workspace(int64_t rows, int64_t in, DType weight_type) {
  const int64_t row = round_up(in, kLongestStep);
  if (weight_type == DType::kBF16) return rows * row * static_cast<int64_t>(sizeof(float));
  if (weight_type == DType::kI8) return rows * (row * static_cast<int64_t>(sizeof(int16_t)) + 4);
  if (weight_type == DType::kI4) {
    // A vector for each lane's inputs where fewer than four groups are left, or one; a sum for each group.
    const int64_t left = 2 * kMostVectors * kVectorBytes, sums = row / int4::kChunk * 4 + kVectorBytes;
    return rows * (row * static_cast<int64_t>(sizeof(int16_t)) + left + sums + 4);
  }
  return 0;
}

int64_t linear_fwd_workspace(int64_t rows, int64_t in) {
  return std::max(linear_fwd_workspace(rows, in, DType::kBF16), linear_fwd_workspace(rows, in, DType::kI4));
}

void linear_fwd_cpu(const LinearFwd& args, Parallel& parallel) {
  linear_fwd_cpu(std::span(&args, 1), parallel);
}

// The work is cut into blocks of rows and outputs. Blocks of the same rows follow each other, so that a
// thread finds their inputs in its cache.
void linear_fwd_cpu(std::span<const LinearFwd> products, Parallel& parallel) {
  if (products.empty() || products.front().rows == 0) return;
  check(products);
  const int64_t rows = products.front().rows;
  const LinearRows x = rows_of(products.front(), parallel);
  const auto block_fn = FATHOM_SIMD_SELECT(linear_fwd_block);
  const int64_t row_block = rows_per_block(rows, x);
  int64_t out_blocks = 0;
  for (const LinearFwd& product : products) out_blocks += ceil_div(product.out, kOutBlock);
  parallel.run(ceil_div(rows, row_block) * out_blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end;) {
      const int64_t row = block / out_blocks * row_block;
      int64_t number = block % out_blocks;
      const LinearFwd* product = products.data();
      while (number >= ceil_div(product->out, kOutBlock)) {
        number -= ceil_div(product->out, kOutBlock);
        ++product;
      }
      const int64_t neighbours = std::min(end - block, ceil_div(product->out, kOutBlock) - number);
      block_fn(*product, x, row, std::min(row + row_block, rows), number * kOutBlock,
               std::min((number + neighbours) * kOutBlock, product->out));
      block += neighbours;
    }
  });
}

}  // namespace fathom::kernels
