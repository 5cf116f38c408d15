// One text of a completion while it is written: ids become text, stop strings end it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cli/batch/completion_request.h"
#include "cli/stop_strings.h"
#include "cli/text_codec.h"
#include "engine/request.h"

namespace fathom::cli::batch {

class CompletionText {
 public:
  // The codec outlives it. The text begins with that of `prompt` if the request says so.
  CompletionText(const TextCodec& codec, const CompletionRequest& request, std::span<const int32_t> prompt);

  // The next token; false once a stop string was met.
  bool push(int32_t token);
  // After the last one.
  void finish(RequestResult result);

  const std::string& text() const { return text_; }
  const RequestResult& result() const { return result_; }
  const char* finish_reason() const;
  // What ended it: a stop string, or one of the request's own stop tokens; null if neither.
  nlohmann::json stop_reason() const;
  // Tokens of the prompt that the text begins with.
  const std::vector<int32_t>& echoed() const { return echoed_; }
  // For each token, echoed ones first, the part of the text that it made, whole characters, and where that
  // begins, in characters.
  const std::vector<std::string>& pieces() const { return pieces_; }

 private:
  void take(const std::string& ready);

  TextCodec::Stream stream_;
  StopStrings stops_;
  const bool keeps_stop_;
  const std::vector<int32_t> stop_tokens_;  // the request's own
  std::vector<int32_t> echoed_;
  std::string text_;
  std::vector<std::string> pieces_;
  RequestResult result_;
};

}  // namespace fathom::cli::batch
