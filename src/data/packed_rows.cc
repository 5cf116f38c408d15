#include "data/packed_rows.h"

#include "base/check.h"

namespace fathom {

Result<PackedRows> PackedRows::create(std::shared_ptr<const TokenStream> stream, int64_t length,
                                      int64_t stride) {
  if (length < 1 || length > INT32_MAX) {
    return invalid("rows of " + std::to_string(length) + " tokens, expected 1 to " +
                   std::to_string(INT32_MAX));
  }
  if (stride < 1) return invalid("a stride of " + std::to_string(stride) + " tokens, expected at least 1");
  if (stream->tokens() < length) {
    return invalid("the data holds " + std::to_string(stream->tokens()) + " tokens, not even one row of " +
                   std::to_string(length));
  }
  const int64_t rows = (stream->tokens() - length) / stride + 1;
  return PackedRows(std::move(stream), length, stride, rows);
}

void PackedRows::read(int64_t row, std::span<int32_t> out) const {
  FATHOM_CHECK(row >= 0 && row < rows_, "row " + std::to_string(row) + " of " + std::to_string(rows_));
  FATHOM_CHECK(static_cast<int64_t>(out.size()) == length_, std::to_string(out.size()) + " places");
  stream_->read(row * stride_, out);
}

std::vector<int32_t> PackedRows::row(int64_t row) const {
  std::vector<int32_t> tokens(static_cast<size_t>(length_));
  read(row, tokens);
  return tokens;
}

std::vector<int32_t> PackedRows::document_cuts(int64_t row) const {
  FATHOM_CHECK(row >= 0 && row < rows_, "row " + std::to_string(row) + " of " + std::to_string(rows_));
  const int64_t begin = row * stride_;
  std::vector<int32_t> cuts = {0};
  for (int64_t start : stream_->document_starts(begin + 1, begin + length_)) {
    cuts.push_back(static_cast<int32_t>(start - begin));
  }
  return cuts;
}

}  // namespace fathom
