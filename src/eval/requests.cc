#include "eval/requests.h"

#include <algorithm>

#include "base/check.h"
#include "base/sentence.h"
#include "eval/text_rules.h"

namespace fathom::eval {

Request make_request(std::vector<int32_t> tokens, int64_t targets) {
  const auto size = static_cast<int64_t>(tokens.size());
  FATHOM_CHECK(targets > 0 && targets < size,
               std::to_string(targets) + " targets of " + std::to_string(size) + " tokens");
  return {.tokens = std::move(tokens), .inputs = size - 1, .first_target = size - targets};
}

Result<Request> RequestMaker::make(std::string_view context, std::string_view continuation) {
  const size_t spaces = white_space_at_end(context);
  const std::string moved = std::string(context.substr(context.size() - spaces)) + std::string(continuation);
  context.remove_suffix(spaces);
  if (context.empty()) return without_context(moved);

  if (context != context_) {
    context_ = context;
    context_tokens_ = static_cast<int64_t>(encoder_.encode(context).size());
  }
  std::vector<int32_t> whole = encoder_.encode(std::string(context) + moved);
  const int64_t targets = static_cast<int64_t>(whole.size()) - context_tokens_;
  if (targets < 1 || context_tokens_ == 0)
    return invalid("the continuation " + in_quotes(moved) + " adds no token to its context");
  return limited(std::move(whole), targets);
}

Result<Request> RequestMaker::without_context(std::string_view continuation) const {
  if (encoder_.prefix < 0)
    return invalid("an empty context, and the tokenizer has no token that begins or ends a text");
  std::vector<int32_t> tokens = encoder_.encode(continuation);
  if (tokens.empty() || tokens.front() != encoder_.prefix) tokens.insert(tokens.begin(), encoder_.prefix);
  if (tokens.size() < 2) return invalid("the continuation " + in_quotes(continuation) + " has no token");
  const auto targets = static_cast<int64_t>(tokens.size()) - 1;
  return limited(std::move(tokens), targets);
}

Result<Request> RequestMaker::limited(std::vector<int32_t> tokens, int64_t targets) const {
  if (targets > max_inputs_) {
    return invalid("a continuation of " + std::to_string(targets) + " tokens, the context is limited to " +
                   std::to_string(max_inputs_));
  }
  const int64_t beyond = static_cast<int64_t>(tokens.size()) - (max_inputs_ + 1);
  if (beyond > 0) tokens.erase(tokens.begin(), tokens.begin() + beyond);
  Request request = make_request(std::move(tokens), targets);
  request.cut = beyond > 0;
  return request;
}

Result<std::vector<Request>> rolling_windows(const std::vector<int32_t>& tokens, int32_t prefix,
                                             int64_t max_inputs) {
  if (prefix < 0) return invalid("the tokenizer has no token that begins or ends a text");
  std::vector<int32_t> all = {prefix};
  all.insert(all.end(), tokens.begin(), tokens.end());
  const auto size = static_cast<int64_t>(all.size());
  std::vector<Request> windows;
  for (int64_t done = 1; done < size;) {
    const int64_t end = std::min(size, done + max_inputs);
    const int64_t begin = std::max<int64_t>(0, end - 1 - max_inputs);
    windows.push_back(make_request({all.begin() + begin, all.begin() + end}, end - done));
    done = end;
  }
  return windows;
}

}  // namespace fathom::eval
