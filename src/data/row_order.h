// In which order rows are seen. An order is a pure function of (epoch, position): nothing is stored but its
// description, and every epoch visits every row exactly once, unless a list or an incomplete group of files
// leaves some out.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/file_groups.h"

namespace fathom {

enum class OrderKind : uint8_t {
  kSequential,  // row = position
  kShuffled,    // another permutation each epoch, from `seed`
  kAffine,      // row = (n * multiplier + offset) mod rows, n counting from the start of training
  kExplicit,    // the rows listed, each epoch the same
  kFileGroups   // rows of some files at a time, permuted together (data/file_groups.h), from `seed`
};

std::string_view name_of(OrderKind kind);  // "sequential", "shuffled", "affine", "explicit", "file_groups"

struct OrderSettings {
  OrderKind kind = OrderKind::kShuffled;
  uint64_t seed = 0;              // kShuffled, kFileGroups
  int64_t multiplier = 1;         // kAffine: positive, no common factor with the number of rows
  int64_t offset = 0;             // kAffine: not negative
  std::vector<int64_t> listed{};  // kExplicit: not empty, each in [0, rows); may repeat or leave out rows
  FileGroupSettings groups{};     // kFileGroups, but for its seed: rows of its files are all rows
};

class RowOrder {
 public:
  static Result<RowOrder> create(OrderSettings settings, int64_t rows);

  // Rows per epoch: `rows`, the length of the list, or the rows of whole groups.
  int64_t epoch_length() const;
  int64_t rows() const { return rows_; }
  const OrderSettings& settings() const { return settings_; }
  // position in [0, epoch_length()).
  int64_t row(int64_t epoch, int64_t position) const;

 private:
  RowOrder(OrderSettings settings, int64_t rows) : settings_(std::move(settings)), rows_(rows) {}
  OrderSettings settings_;
  int64_t rows_;
  std::shared_ptr<FileGroups> groups_;  // kFileGroups; what it remembers changes no answer
};

// A permutation of [0, size) given by (seed, stream), value by value in constant memory: a Feistel network
// over the next power of four with Philox as its round function, walked until the value falls below `size`
// (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002, section 3).
uint64_t permute(uint64_t seed, uint64_t stream, uint64_t size, uint64_t index);

}  // namespace fathom
