// One text of a completion while it is written: ids become text, stop strings end it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/batch/completion_request.h"
#include "cli/stop_strings.h"
#include "cli/text_codec.h"
#include "engine/request.h"

namespace fathom::cli::batch {

class CompletionText {
 public:
  // The codec outlives it.
  CompletionText(const TextCodec& codec, const CompletionRequest& request);

  // The next token; false once a stop string was met.
  bool push(int32_t token);
  // After the last one.
  void finish(RequestResult result);

  const std::string& text() const { return text_; }
  const RequestResult& result() const { return result_; }
  const char* finish_reason() const;
  // What ended it: a stop string, or one of the request's own stop tokens; null if neither.
  nlohmann::json stop_reason() const;
  // For each token the part of the text that it made, whole characters, and where that begins, in characters.
  const std::vector<std::string>& pieces() const { return pieces_; }

 private:
  void take(const std::string& ready);

  TextCodec::Stream stream_;
  StopStrings stops_;
  const bool keeps_stop_;
  const std::vector<int32_t> stop_tokens_;  // the request's own
  std::string text_;
  std::vector<std::string> pieces_;
  RequestResult result_;
};

}  // namespace fathom::cli::batch
