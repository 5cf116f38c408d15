// Training rows of fixed length cut from a token stream: row r is tokens [r * stride, r * stride + length).
//
// A model that predicts the next token inside the row takes length = stride = T (T - 1 predictions); one that
// wants T predictions takes length T + 1 and stride T, so that rows share one token. Rows within files, as
// the training code of Decoder-Hybrid-Decoder cuts them, share none.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "data/token_stream.h"

namespace fathom {

class PackedRows {
 public:
  // Error if the stream holds not even one row. Tokens after the last complete row are not used.
  static Result<PackedRows> create(std::shared_ptr<const TokenStream> stream, int64_t length, int64_t stride);

  // Rows that lie in one file each: the slices [i * length, (i + 1) * length) of every file. Tokens behind
  // the last of a file are not used. Error if no file holds a row.
  static Result<PackedRows> create_in_files(std::shared_ptr<const TokenStream> stream, int64_t length);

  int64_t rows() const { return rows_; }
  int64_t length() const { return length_; }
  int64_t stride() const { return stride_; }
  const TokenStream& stream() const { return *stream_; }
  // Rows of each file; empty if rows may cross from one into the next.
  std::vector<int64_t> rows_of_files() const;

  // `out` has `length` places.
  void read(int64_t row, std::span<int32_t> out) const;
  std::vector<int32_t> row(int64_t row) const;

  // Where the row is to be cut so that no piece crosses a document's end: offsets in [0, length), ascending,
  // the first 0. Piece i is [cuts[i], cuts[i + 1]), the last ends at `length`.
  std::vector<int32_t> document_cuts(int64_t row) const;

 private:
  PackedRows(std::shared_ptr<const TokenStream> stream, int64_t length, int64_t stride, int64_t rows)
      : stream_(std::move(stream)), length_(length), stride_(stride), rows_(rows) {}
  int64_t begin_of(int64_t row) const;  // its first token in the stream
  std::shared_ptr<const TokenStream> stream_;
  int64_t length_, stride_, rows_;
  std::vector<int64_t> first_rows_;  // [files + 1] of rows that lie in one file each
};

}  // namespace fathom
