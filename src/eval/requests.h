// Texts as tokens to score: which rows a model is fed, and which of them predict what.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom::eval {

// Text to ids. Given by the caller, so that this folder does not choose between tokenizers and bytes.
struct TextEncoder {
  std::function<std::vector<int32_t>(std::string_view)> encode;
  int32_t prefix =
      -1;  // stands before a text without context: beginning of text, else end; -1: there is none
};

// The model is fed tokens [0, inputs) as one sequence; each token from `first_target` on is predicted by the
// row before it. 1 <= first_target < tokens.size() <= inputs + 1 and inputs <= tokens.size().
struct Request {
  std::vector<int32_t> tokens = {};
  int64_t inputs = 0;
  int64_t first_target = 0;
  bool cut = false;  // longer than allowed: tokens at its start are not there

  int64_t targets() const { return static_cast<int64_t>(tokens.size()) - first_target; }
};

// All tokens but the last are fed; the last `targets` are predicted.
Request make_request(std::vector<int32_t> tokens, int64_t targets);

// The tokens of `continuation` after `context`, as lm-evaluation-harness splits them: white space at the end
// of the context moves to the continuation; the tokens of both together, and of them those beyond the number
// of tokens of the context alone. An empty context is the prefix token. Longer than max_inputs + 1 tokens:
// the first ones are cut. Errors: no token to predict, more than max_inputs of them, no prefix token.
class RequestMaker {
 public:
  RequestMaker(const TextEncoder& encoder, int64_t max_inputs) : encoder_(encoder), max_inputs_(max_inputs) {}
  Result<Request> make(std::string_view context, std::string_view continuation);

 private:
  Result<Request> without_context(std::string_view continuation) const;
  Result<Request> limited(std::vector<int32_t> tokens, int64_t targets) const;

  const TextEncoder& encoder_;
  int64_t max_inputs_;
  // The last context: the choices of an item share it.
  std::string context_;
  int64_t context_tokens_ = 0;
};

// A document in windows of at most `max_inputs` rows, each token predicted once: the first window follows the
// prefix token, each later one as much of the text before it as there is room for, at least one token.
Result<std::vector<Request>> rolling_windows(const std::vector<int32_t>& tokens, int32_t prefix,
                                             int64_t max_inputs);

}  // namespace fathom::eval
