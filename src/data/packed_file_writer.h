// Writes packed token files (LITPKDS, docs/formats/token-shards.md): documents one after another, cut into
// files of equal length.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/atomic_directory.h"

namespace fathom {

struct PackedFileSettings {
  int64_t vocab_size = 0;
  int32_t end_of_document = 0;  // behind each document, and behind the last one to the end of its file
  int64_t tokens_per_file = 0;
};

class PackedFileWriter {
 public:
  static constexpr int64_t kMostTokensPerFile = int64_t{1} << 28;

  // Files are `prefix`_0000000000.bin and on. Errors: a number out of range, a file of such a name that is
  // there already.
  static Result<PackedFileWriter> create(std::string prefix, const PackedFileSettings& settings);

  // One document. It may go on in the next file. An error if an id is outside [0, vocab_size); nothing of the
  // document is written then.
  Status add_document(std::span<const int32_t> ids);
  // Writes the last file, filled with the end of a document, and gives all files their names; they lie in a
  // temporary folder beside them until then, which goes with the writer. Number 0 comes last: without it none
  // of the files is taken for a packing.
  Status finish();

  int64_t files() const { return files_; }
  int64_t tokens() const {
    return tokens_;
  }  // of documents with their ends, without what fills the last file
  int64_t documents() const { return documents_; }

 private:
  PackedFileWriter(std::string prefix, const PackedFileSettings& settings, AtomicDirectory temporary);
  Status put(int32_t id);
  Status write_file();
  std::string temporary_name(int64_t file) const;

  std::string prefix_;
  PackedFileSettings settings_;
  AtomicDirectory temporary_;
  std::vector<int32_t> pending_;  // of the file that is not full yet
  int64_t files_ = 0, tokens_ = 0, documents_ = 0;
};

}  // namespace fathom
