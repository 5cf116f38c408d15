// Token files one after another as a single sequence of ids.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/token_file.h"

namespace fathom {

class TokenStream {
 public:
  // All files must agree on the size of the vocabulary. At least one file.
  static Result<TokenStream> create(std::vector<TokenFile> files);

  int64_t tokens() const { return file_begin_.back(); }
  int64_t vocab_size() const { return files_.front().vocab_size(); }
  int64_t documents() const { return document_begin_.back(); }
  const std::vector<TokenFile>& files() const { return files_; }
  int64_t first_token(size_t file) const { return file_begin_[file]; }

  // Tokens [begin, begin + out.size()); the range must lie in the stream.
  void read(int64_t begin, std::span<int32_t> out) const;
  // Number of the document that holds the token. A file always begins a new document.
  int64_t document_of(int64_t token) const;
  // Positions in [begin, end) at which a document starts, ascending.
  std::vector<int64_t> document_starts(int64_t begin, int64_t end) const;
  // Identity of the ids: SHA-256 over the files' hashes and lengths, in hexadecimal. Saved with a training
  // run so that it is not resumed on other data.
  std::string fingerprint() const;

 private:
  explicit TokenStream(std::vector<TokenFile> files);
  size_t file_of(int64_t token) const;
  std::vector<TokenFile> files_;
  std::vector<int64_t> file_begin_;      // [files + 1], in tokens
  std::vector<int64_t> document_begin_;  // [files + 1], in documents
};

}  // namespace fathom
