#include "data/file_groups.h"

#include <algorithm>

#include "base/check.h"

namespace fathom {

Result<FileGroups> FileGroups::create(FileGroupSettings settings) {
  const auto files = static_cast<int64_t>(settings.file_rows.size());
  if (settings.files < 1)
    return invalid("groups of " + std::to_string(settings.files) + " files, expected at least 1");
  // The published reader takes all files where there are fewer than a group has.
  settings.files = std::min(settings.files, std::max<int64_t>(files, 1));
  std::vector<int64_t> begin = {0};
  int64_t rows = 0;
  for (int64_t f = 0; f < files; ++f) {
    rows += settings.file_rows[static_cast<size_t>(f)];
    const bool full = (f + 1) % settings.files == 0;
    if (full || (f + 1 == files && !settings.whole_groups)) begin.push_back(rows);
  }
  if (begin.back() < 1) {
    return invalid("groups of " + std::to_string(settings.files) + " files have no row: there are " +
                   std::to_string(files) + " files with " + std::to_string(rows) + " rows");
  }
  return FileGroups(std::move(settings), std::move(begin));
}

int64_t FileGroups::row(int64_t epoch, int64_t position) {
  const auto groups = static_cast<int64_t>(group_begin_.size()) - 1;
  FATHOM_CHECK(epoch >= 0 && epoch < INT64_MAX / groups && position >= 0 && position < epoch_length(),
               "position " + std::to_string(position) + " of epoch " + std::to_string(epoch));
  if (!settings_.shuffled) return position;
  const auto next = std::ranges::upper_bound(group_begin_, position);
  const int64_t wanted = epoch * groups + (next - group_begin_.begin() - 1);
  if (wanted < drawn_) {
    generator_ = NumpyGenerator(settings_.seed);
    drawn_ = -1;
  }
  while (drawn_ < wanted) {
    const auto group = static_cast<size_t>(++drawn_ % groups);
    permutation_ = generator_.permutation(group_begin_[group + 1] - group_begin_[group]);
  }
  const int64_t begin = *(next - 1);
  return begin + permutation_[static_cast<size_t>(position - begin)];
}

}  // namespace fathom
