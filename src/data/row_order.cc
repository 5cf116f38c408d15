#include "data/row_order.h"

#include <bit>
#include <numeric>

#include "base/check.h"
#include "base/random.h"

namespace fathom {

std::string_view name_of(OrderKind kind) {
  switch (kind) {
    case OrderKind::kSequential:
      return "sequential";
    case OrderKind::kShuffled:
      return "shuffled";
    case OrderKind::kAffine:
      return "affine";
    case OrderKind::kExplicit:
      return "explicit";
    case OrderKind::kFileGroups:
      return "file_groups";
  }
  return "?";
}

uint64_t permute(uint64_t seed, uint64_t stream, uint64_t size, uint64_t index) {
  FATHOM_CHECK(index < size && size <= uint64_t{1} << 62, "index " + std::to_string(index));
  const int half = (std::bit_width(size - 1) + 1) / 2;  // the network works on 2 * half bits
  const uint64_t mask = (uint64_t{1} << half) - 1;
  constexpr uint64_t kRounds = 8;
  if (size == 1) return 0;
  do {
    uint64_t left = index >> half, right = index & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t mixed = philox(seed, stream, round << 32 | right)[0];
      left = std::exchange(right, (left ^ mixed) & mask);
    }
    index = left << half | right;
  } while (index >= size);
  return index;
}

Result<RowOrder> RowOrder::create(OrderSettings settings, int64_t rows) {
  if (rows < 1) return invalid("an order over " + std::to_string(rows) + " rows, expected at least 1");
  if (settings.kind == OrderKind::kAffine) {
    if (settings.multiplier < 1 || std::gcd(settings.multiplier, rows) != 1) {
      return invalid("multiplier " + std::to_string(settings.multiplier) + " has a common factor with the " +
                     std::to_string(rows) + " rows, so that rows would be left out");
    }
    if (settings.offset < 0) return invalid("offset " + std::to_string(settings.offset) + " is negative");
  }
  if (settings.kind == OrderKind::kExplicit) {
    if (settings.listed.empty()) return invalid("an explicit order lists no row");
    for (int64_t row : settings.listed) {
      if (row < 0 || row >= rows) {
        return invalid("the explicit order lists row " + std::to_string(row) + " of " + std::to_string(rows));
      }
    }
  }
  if (settings.kind == OrderKind::kFileGroups) {
    settings.groups.seed = settings.seed;
    const std::vector<int64_t>& of_files = settings.groups.file_rows;
    const int64_t counted = std::accumulate(of_files.begin(), of_files.end(), int64_t{0});
    if (counted != rows) {
      return invalid("an order over the " + std::to_string(counted) + " rows of " +
                     std::to_string(of_files.size()) + " files, but there are " + std::to_string(rows));
    }
    FATHOM_ASSIGN(FileGroups groups, FileGroups::create(settings.groups));
    RowOrder order(std::move(settings), rows);
    order.groups_ = std::make_shared<FileGroups>(std::move(groups));
    return order;
  }
  return RowOrder(std::move(settings), rows);
}

int64_t RowOrder::epoch_length() const {
  if (groups_ != nullptr) return groups_->epoch_length();
  return settings_.kind == OrderKind::kExplicit ? static_cast<int64_t>(settings_.listed.size()) : rows_;
}

int64_t RowOrder::row(int64_t epoch, int64_t position) const {
  FATHOM_CHECK(epoch >= 0 && position >= 0 && position < epoch_length(),
               "position " + std::to_string(position) + " of epoch " + std::to_string(epoch));
  switch (settings_.kind) {
    case OrderKind::kSequential:
      return position;
    case OrderKind::kShuffled:
      return static_cast<int64_t>(permute(settings_.seed, static_cast<uint64_t>(epoch),
                                          static_cast<uint64_t>(rows_), static_cast<uint64_t>(position)));
    case OrderKind::kAffine: {
      // n = epoch * rows + position; the first term is a multiple of rows after the product too.
      __extension__ using Wide = unsigned __int128;
      const Wide product = static_cast<Wide>(position) * static_cast<Wide>(settings_.multiplier) +
                           static_cast<Wide>(settings_.offset);
      return static_cast<int64_t>(product % static_cast<Wide>(rows_));
    }
    case OrderKind::kExplicit:
      return settings_.listed[static_cast<size_t>(position)];
    case OrderKind::kFileGroups:
      return groups_->row(epoch, position);
  }
  return 0;
}

}  // namespace fathom
