// JSON Lines: one object a line. Documents have their text in one of its fields.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/result.h"

namespace fathom {

// Whether a file is taken as JSON Lines: its name ends in .jsonl.
bool is_json_lines(const std::string& path);

// The texts of a file's lines, one after another. Memory: one line.
class JsonLineReader {
 public:
  static Result<JsonLineReader> open(const std::string& path, std::string field);

  // Puts the text of the next line into its argument; false when there is none. Blank lines are passed over;
  // an empty text is a document without words. Error: a line that is no JSON object or no UTF-8, or whose
  // field is missing or no string ("x.jsonl, line 3: ...").
  Result<bool> next(std::string& text);
  // Bytes of the file, up to the end of the line that next() gave.
  size_t bytes_read() const { return read_; }

 private:
  JsonLineReader(MappedFile file, std::string path, std::string field)
      : file_(std::move(file)), path_(std::move(path)), field_(std::move(field)) {}

  MappedFile file_;
  std::string path_, field_;
  size_t read_ = 0;
  int64_t number_ = 0;  // of the last line
};

// Calls `visit` with each line's object in order; blank lines are passed over. `content` is that of a file,
// and `limits` hold for a line. Stops at the first error, its own and those of `visit` alike: "line 3: ...".
Status for_each_json_object(std::string_view content, const JsonLimits& limits,
                            const std::function<Status(const nlohmann::json& object)>& visit);

}  // namespace fathom
