// Where an output file goes, so that what lies at its path stays what it is: a link stays, and what it leads
// to is replaced; a device or a pipe is written to; a file that is replaced hands on its permissions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/result.h"

namespace fathom {

class OutputPlace {
 public:
  // Errors: a folder lies there, links lead round in a circle.
  static Result<OutputPlace> find(const std::string& path);

  // Whether a new file takes the name of `target()`; else what is there is written to.
  bool replaces() const { return !temporary_.empty(); }
  const std::string& target() const { return target_; }  // behind all links

  // The file to write: the temporary `<target>.tmp-<pid>`, or what is there. Errors call it as find() did.
  Result<OutputFile> open() const;
  // Once all is written. What is replaced is the old file or the whole new one, whatever is killed when.
  Status commit(OutputFile& file) const;
  // Instead of commit(), or after it failed.
  void discard() const;

 private:
  explicit OutputPlace(const std::string& path) : path_(path), target_(path) {}
  std::string path_, target_, temporary_;
  std::optional<uint32_t> permissions_;  // those of a file that is replaced
};

}  // namespace fathom
