#include "cli/batch/completion_text.h"

#include <algorithm>
#include <utility>

#include "cli/chat/reasoning_splitter.h"

namespace fathom::cli::batch {

namespace {

std::vector<std::string_view> kept_markers(bool chat) {
  if (!chat) return {};
  return {chat::ReasoningSplitter::kOpen, chat::ReasoningSplitter::kClose};
}

}  // namespace

CompletionText::CompletionText(const TextCodec& codec, const CompletionRequest& request,
                               std::span<const int32_t> prompt)
    : stream_(codec, kept_markers(request.chat)),
      stops_(request.stop),
      keeps_stop_(request.include_stop_str_in_output),
      stop_tokens_(request.stop_token_ids) {
  if (!request.echo) return;
  echoed_.assign(prompt.begin(), prompt.end());
  // A stop string is looked for behind the prompt. A character that the prompt leaves open ends with it.
  TextCodec::Stream stream(codec);
  for (const int32_t token : prompt) text_ += pieces_.emplace_back(stream.push(token));
  const std::string rest = stream.finish();
  text_ += rest;
  if (!pieces_.empty()) pieces_.back() += rest;
}

void CompletionText::take(const std::string& ready) {
  text_ += stops_.push(ready);
  if (stops_.stopped() && keeps_stop_) text_ += stops_.met();
}

bool CompletionText::push(int32_t token) {
  pieces_.push_back(stream_.push(token));
  take(pieces_.back());
  return !stops_.stopped();
}

void CompletionText::finish(RequestResult result) {
  result_ = std::move(result);
  if (stops_.stopped()) return;
  const std::string rest = stream_.finish();
  if (!pieces_.empty()) pieces_.back() += rest;
  take(rest);
  if (!stops_.stopped()) text_ += stops_.finish();
}

const char* CompletionText::finish_reason() const {
  return stops_.stopped() || result_.finish == FinishReason::kStop ? "stop" : "length";
}

nlohmann::json CompletionText::stop_reason() const {
  if (stops_.stopped()) return stops_.met();
  if (result_.stop_token && std::ranges::find(stop_tokens_, *result_.stop_token) != stop_tokens_.end())
    return *result_.stop_token;
  return nullptr;
}

}  // namespace fathom::cli::batch
