// The files of a batch, JSON Lines as OpenAI's Batch API has them: requests in,
//
//   {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {...}}
//
// and a line for each that is done, in the order in which they are done:
//
//   {"id": "...", "custom_id": "a", "response": {"status_code": 200, "request_id": "...", "body": {...}},
//   "error": null}
//
// The lines of the output say what is done, so a batch that was stopped goes on from there.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "base/file.h"
#include "base/result.h"
#include "cli/line_reader.h"

namespace fathom::cli::batch {

struct BatchLine {
  std::string custom_id;
  bool chat = false;
  nlohmann::json body;
};

// What a line asks for. Errors, without the place: it is no such object, or asks for something else.
Result<BatchLine> read_batch_line(std::string_view line);

// The requests of a file, one after another; empty lines are none.
class BatchInput {
 public:
  static Result<BatchInput> open(const std::string& path);
  // None at the end. Errors: read_batch_line(), with the place.
  Result<std::optional<BatchLine>> next();

 private:
  explicit BatchInput(LineReader lines) : lines_(std::move(lines)) {}
  LineReader lines_;
};

// Reads the whole file: how many requests there are. Error: the first line that is none, or has an id that
// another has.
Result<int64_t> check_batch(const std::string& path);

class BatchOutput {
 public:
  // A new file, or one that a batch has begun, behind its last whole line: what a process that was killed had
  // written of another is cut off. Error: a file that holds something else.
  static Result<BatchOutput> open(const std::string& path);

  bool has(const std::string& custom_id) const { return done_.contains(custom_id); }
  int64_t done() const { return static_cast<int64_t>(done_.size()); }
  int64_t failed() const { return failed_; }  // of them, those with another status than 200

  Status write(const std::string& custom_id, int status, const nlohmann::ordered_json& body);
  Status close();

 private:
  explicit BatchOutput(OutputFile file) : file_(std::move(file)) {}
  OutputFile file_;
  std::unordered_set<std::string> done_;
  int64_t failed_ = 0;
};

// 16 hexadecimal digits that follow from an id: of the answers to it, and of its random numbers where it asks
// for none.
uint64_t hash_of(std::string_view custom_id);
std::string hex_of(uint64_t hash);

}  // namespace fathom::cli::batch
