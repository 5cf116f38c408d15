#include "data/packed_rows.h"

#include <algorithm>

#include "base/check.h"

namespace fathom {

namespace {

Status check_length(int64_t length) {
  if (length >= 1 && length <= INT32_MAX) return {};
  return invalid("rows of " + std::to_string(length) + " tokens, expected 1 to " + std::to_string(INT32_MAX));
}

}  // namespace

Result<PackedRows> PackedRows::create(std::shared_ptr<const TokenStream> stream, int64_t length,
                                      int64_t stride) {
  FATHOM_TRY(check_length(length));
  if (stride < 1) return invalid("a stride of " + std::to_string(stride) + " tokens, expected at least 1");
  if (stream->tokens() < length) {
    return invalid("the data holds " + std::to_string(stream->tokens()) + " tokens, not even one row of " +
                   std::to_string(length));
  }
  const int64_t rows = (stream->tokens() - length) / stride + 1;
  return PackedRows(std::move(stream), length, stride, rows);
}

Result<PackedRows> PackedRows::create_in_files(std::shared_ptr<const TokenStream> stream, int64_t length) {
  FATHOM_TRY(check_length(length));
  std::vector<int64_t> first_rows = {0};
  for (const TokenFile& file : stream->files())
    first_rows.push_back(first_rows.back() + file.tokens() / length);
  if (first_rows.back() == 0)
    return invalid("none of the token files holds a row of " + std::to_string(length) + " tokens");
  PackedRows rows(std::move(stream), length, length, first_rows.back());
  rows.first_rows_ = std::move(first_rows);
  return rows;
}

std::vector<int64_t> PackedRows::rows_of_files() const {
  std::vector<int64_t> rows;
  for (size_t f = 0; f + 1 < first_rows_.size(); ++f) rows.push_back(first_rows_[f + 1] - first_rows_[f]);
  return rows;
}

int64_t PackedRows::begin_of(int64_t row) const {
  if (first_rows_.empty()) return row * stride_;
  const auto next = std::ranges::upper_bound(first_rows_, row);
  const auto file = static_cast<size_t>(next - first_rows_.begin() - 1);
  return stream_->first_token(file) + (row - first_rows_[file]) * stride_;
}

void PackedRows::read(int64_t row, std::span<int32_t> out) const {
  FATHOM_CHECK(row >= 0 && row < rows_, "row " + std::to_string(row) + " of " + std::to_string(rows_));
  FATHOM_CHECK(static_cast<int64_t>(out.size()) == length_, std::to_string(out.size()) + " places");
  stream_->read(begin_of(row), out);
}

std::vector<int32_t> PackedRows::row(int64_t row) const {
  std::vector<int32_t> tokens(static_cast<size_t>(length_));
  read(row, tokens);
  return tokens;
}

std::vector<int32_t> PackedRows::document_cuts(int64_t row) const {
  FATHOM_CHECK(row >= 0 && row < rows_, "row " + std::to_string(row) + " of " + std::to_string(rows_));
  const int64_t begin = begin_of(row);
  std::vector<int32_t> cuts = {0};
  for (int64_t start : stream_->document_starts(begin + 1, begin + length_)) {
    cuts.push_back(static_cast<int32_t>(start - begin));
  }
  return cuts;
}

}  // namespace fathom
