#include "data/token_stream.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace fathom {

Result<TokenStream> TokenStream::create(std::vector<TokenFile> files) {
  if (files.empty()) return invalid("a token stream needs at least one file");
  for (const TokenFile& file : files) {
    if (file.vocab_size() != files.front().vocab_size()) {
      return invalid(file.path() + ": vocabulary of " + std::to_string(file.vocab_size()) + " entries, but " +
                     files.front().path() + " has " + std::to_string(files.front().vocab_size()));
    }
  }
  return TokenStream(std::move(files));
}

TokenStream::TokenStream(std::vector<TokenFile> files)
    : files_(std::move(files)), file_begin_{0}, document_begin_{0} {
  for (const TokenFile& file : files_) {
    file_begin_.push_back(file_begin_.back() + file.tokens());
    document_begin_.push_back(document_begin_.back() + file.documents());
  }
}

// Empty files hold no token: the last file that begins at or before the token is the one.
size_t TokenStream::file_of(int64_t token) const {
  FATHOM_CHECK(token >= 0 && token < tokens(), "token " + std::to_string(token));
  return static_cast<size_t>(std::upper_bound(file_begin_.begin(), file_begin_.end(), token) -
                             file_begin_.begin() - 1);
}

void TokenStream::read(int64_t begin, std::span<int32_t> out) const {
  const auto count = static_cast<int64_t>(out.size());
  FATHOM_CHECK(begin >= 0 && count <= tokens() && begin <= tokens() - count,
               "tokens " + std::to_string(begin) + " + " + std::to_string(count));
  while (!out.empty()) {
    const size_t file = file_of(begin);
    const auto take =
        static_cast<size_t>(std::min(static_cast<int64_t>(out.size()), file_begin_[file + 1] - begin));
    files_[file].read(begin - file_begin_[file], out.first(take));
    out = out.subspan(take);
    begin += static_cast<int64_t>(take);
  }
}

int64_t TokenStream::document_of(int64_t token) const {
  const size_t file = file_of(token);
  const auto starts = files_[file].document_starts();
  const auto next =
      std::upper_bound(starts.begin(), starts.end(), static_cast<uint64_t>(token - file_begin_[file]));
  return document_begin_[file] + (next - starts.begin()) - 1;
}

std::vector<int64_t> TokenStream::document_starts(int64_t begin, int64_t end) const {
  FATHOM_CHECK(begin >= 0 && begin <= end && end <= tokens(), "tokens up to " + std::to_string(end));
  std::vector<int64_t> found;
  if (begin == end) return found;
  for (size_t file = file_of(begin); file < files_.size() && file_begin_[file] < end; ++file) {
    const auto starts = files_[file].document_starts();
    const int64_t from = std::max<int64_t>(0, begin - file_begin_[file]);
    for (auto start = std::lower_bound(starts.begin(), starts.end(), static_cast<uint64_t>(from));
         start != starts.end(); ++start) {
      const int64_t position = file_begin_[file] + static_cast<int64_t>(*start);
      if (position >= end) break;
      found.push_back(position);
    }
  }
  return found;
}

std::string TokenStream::fingerprint() const {
  Sha256 sha;
  for (const TokenFile& file : files_) {
    std::array<uint8_t, 9> size{};
    for (size_t i = 0; i < 8; ++i) size[i] = static_cast<uint8_t>(file.tokens() >> (8 * i));
    size[8] = static_cast<uint8_t>(file.width());
    sha.update(size);
    sha.update(file.data_hash());
  }
  return to_hex(sha.finish());
}

}  // namespace fathom
