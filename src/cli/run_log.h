// A file that grows with a training run, record by record, and is cut back when the run goes on from an
// earlier checkpoint: whatever was written behind that checkpoint, or only in part, goes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"

namespace fathom::cli {

class RunLog {
 public:
  struct Record {
    size_t bytes = 0;        // its length
    int64_t steps_done = 0;  // when it was written; 0 for what stands at the head of a file
  };
  // The record that `rest` begins with; nothing if it is torn or none at all. An error, which says where in
  // the file, refuses the file: nothing of it is cut.
  using NextRecord = std::function<Result<std::optional<Record>>(std::string_view rest)>;

  // Length of the longest beginning of `content` whose records are whole and belong to at most `steps_done`
  // steps.
  static Result<size_t> length_until(std::string_view content, int64_t steps_done, const NextRecord& next);

  // Cuts the file back to `steps_done` steps; says how many bytes stay.
  static Result<uint64_t> cut(const std::string& path, int64_t steps_done, const NextRecord& next);

  // Opens `path` for appending, cut back to `steps_done`; the file is made if it is absent.
  static Result<RunLog> open(const std::string& path, int64_t steps_done, const NextRecord& next);

  // On its way to the disk when it returns: a killed process loses nothing of it.
  Status append(std::string_view record);
  // What was appended survives a crash of the machine.
  Status sync() { return file_.sync(); }

  const std::string& path() const { return path_; }
  bool empty() const { return bytes_ == 0; }
  uint64_t bytes() const { return bytes_; }

 private:
  RunLog(OutputFile file, std::string path, uint64_t bytes)
      : file_(std::move(file)), path_(std::move(path)), bytes_(bytes) {}
  OutputFile file_;
  std::string path_;
  uint64_t bytes_ = 0;
};

}  // namespace fathom::cli
