// The order in which the training code of Decoder-Hybrid-Decoder reads rows of packed files: some files at a
// time, the rows of such a group permuted together by one generator that all groups and epochs draw from.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "data/numpy_generator.h"

namespace fathom {

struct FileGroupSettings {
  std::vector<int64_t> file_rows;  // rows of each file; they are numbered file after file
  int64_t files = 1;               // of a group
  bool shuffled = true;            // false: rows in their order
  bool whole_groups = true;        // a last group of fewer files is left out; false: it counts
  uint64_t seed = 0;
};

// A function of (epoch, position). Positions that go up are cheap: what was drawn last is kept, so that an
// object serves one thread at a time. A jump draws all groups before it.
class FileGroups {
 public:
  // Error if no row is left.
  static Result<FileGroups> create(FileGroupSettings settings);

  const FileGroupSettings& settings() const { return settings_; }
  int64_t epoch_length() const { return group_begin_.back(); }
  // position in [0, epoch_length()).
  int64_t row(int64_t epoch, int64_t position);

 private:
  FileGroups(FileGroupSettings settings, std::vector<int64_t> group_begin)
      : settings_(std::move(settings)), group_begin_(std::move(group_begin)), generator_(settings_.seed) {}

  FileGroupSettings settings_;
  std::vector<int64_t> group_begin_;  // [groups + 1], first row of each group
  // The permutation of the group drawn last, counted over all epochs; -1: none.
  NumpyGenerator generator_;
  int64_t drawn_ = -1;
  std::vector<int64_t> permutation_;
};

}  // namespace fathom
