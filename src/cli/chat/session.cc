#include "cli/chat/session.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"
#include "cli/stop_strings.h"
#include "state/state_file.h"
#include "weights/fingerprint.h"

namespace fathom::cli::chat {

namespace {

using text::PromptPiece;
using text::Role;

// What ends the reasoning of an answer that has none to go on with. The tags are special tokens of some
// tokenizers and text to others.
const char* const kEndOfReasoning = "\n</think>\n\n";
const char* const kNoReasoning = "<think>\n\n</think>\n\n";

}  // namespace

Session::Session(const LoadedModel& model, text::ChatTemplate chat, const SessionOptions& options,
                 Parallel& parallel, const std::atomic<bool>& interrupted)
    : model_(model),
      chat_(std::move(chat)),
      options_(options),
      fingerprint_(fingerprint_of(model.plan, *model.weights)),
      end_token_(model.codec.token_of(chat_.end_marker())),
      executor_(model.plan, *model.weights, options.chunk, options.context, parallel, options.numerics),
      state_(executor_.make_state(options.kv_type)),
      generator_(executor_, model.plan, options.chunk),
      interrupted_(interrupted),
      system_(options.system) {
  clear();
}

void Session::append(const std::vector<PromptPiece>& pieces, std::vector<int32_t>& to) const {
  const std::vector<int32_t> ids = model_.codec.encode(pieces);
  to.insert(to.end(), ids.begin(), ids.end());
}

void Session::clear() {
  state_.reset();
  tokens_.clear();
  open_ = false;
  append(chat_.beginning(system_), tokens_);
}

Result<bool> Session::generate(int64_t limit, const std::function<bool(const GeneratedToken&)>& on_token,
                               Turn& turn) {
  GenerateRequest request;
  const std::vector<int32_t> unread(tokens_.begin() + state_.position(), tokens_.end());
  request.prompt = unread;
  request.max_tokens = limit;
  request.sampling = options_.sampling;
  request.stop_tokens = model_.end_ids;
  if (end_token_ >= 0) request.stop_tokens.push_back(end_token_);
  request.cancelled = &interrupted_;
  const Result<GenerateResult> result = generator_.run(state_, request, [&](const GeneratedToken& token) {
    tokens_.push_back(token.token);
    ++turn.generated_tokens;
    return on_token(token);
  });
  if (!result.ok()) return result.error();
  turn.prefill_seconds += result->prefill_seconds;
  turn.decode_seconds += result->decode_seconds;
  return result->finish == FinishReason::kStop;
}

Result<Turn> Session::ask(const std::string& message, const std::function<void(const AnswerPart&)>& show) {
  std::vector<int32_t> asked = tokens_;
  if (open_) append(chat_.closing(), asked);
  append(chat_.message(Role::kUser, message), asked);
  append(chat_.opening(Role::kAssistant), asked);
  if (options_.reasoning_budget == 0) model_.codec.encode_to(kNoReasoning, {}, asked);
  if (static_cast<int64_t>(asked.size()) >= options_.context) {
    return invalid("the conversation would have " + std::to_string(asked.size()) +
                   " tokens with this message, as many as the context of " +
                   std::to_string(options_.context) + " or more");
  }
  Turn turn;
  turn.prompt_tokens = static_cast<int64_t>(asked.size()) - state_.position();
  const bool open = std::exchange(open_, true);
  std::swap(tokens_, asked);
  Result<Turn> answered = answer(show, turn);
  if (!answered.ok()) {
    // What the state has read cannot be taken back: the conversation before the message is read again.
    state_.reset();
    tokens_ = std::move(asked);
    open_ = open;
  }
  return answered;
}

Result<Turn> Session::answer(const std::function<void(const AnswerPart&)>& show, Turn turn) {
  TextCodec::Stream stream(model_.codec, {ReasoningSplitter::kOpen, ReasoningSplitter::kClose});
  StopStrings marker(has_markers() ? std::vector<std::string>{}
                                   : std::vector<std::string>{chat_.end_marker()});
  ReasoningSplitter splitter;
  const auto give = [&](const std::vector<AnswerPart>& parts) {
    for (const AnswerPart& part : parts) show(part);
  };
  const auto room = [&] {
    const int64_t left = options_.context - tokens();
    return options_.max_tokens < 0 ? left : std::min(left, options_.max_tokens - turn.generated_tokens);
  };
  // The end of what was generated, for it might have become a marker or a character.
  const auto held_back = [&] {
    const std::string text = marker.push(stream.finish());
    return text + marker.finish();
  };
  int64_t reasoned = 0;
  bool spent = false;  // the reasoning had all it may have
  const auto on_token = [&](const GeneratedToken& token) {
    give(splitter.push(marker.push(stream.push(token.token))));
    if (splitter.reasoning()) ++reasoned;
    spent = options_.reasoning_budget > 0 && !marker.stopped() && splitter.reasoning() &&
            reasoned >= options_.reasoning_budget;
    return !marker.stopped() && !spent;
  };
  FATHOM_ASSIGN(bool ended, generate(room(), on_token, turn));
  if (spent && !interrupted_.load()) {
    const size_t before = tokens_.size();
    model_.codec.encode_to(kEndOfReasoning, {}, tokens_);
    turn.generated_tokens += static_cast<int64_t>(tokens_.size() - before);
    give(splitter.push(held_back() + kEndOfReasoning));
    spent = false;
    if (room() > 0) {
      FATHOM_ASSIGN(ended, generate(room(), on_token, turn));
    }
  }
  if (!marker.stopped()) give(splitter.push(held_back()));
  give(splitter.finish());
  // A marker that is text has been generated with the answer.
  if (marker.stopped()) open_ = false;
  if (ended || marker.stopped()) {
    turn.end = Turn::End::kMessage;
  } else if (interrupted_.load()) {
    turn.end = Turn::End::kInterrupted;
  } else {
    turn.end = tokens() >= options_.context ? Turn::End::kContext : Turn::End::kLength;
  }
  return turn;
}

Status Session::save(const std::string& path) const {
  const nlohmann::json note = {{"chat_template", chat_.name()}, {"open", open_}, {"system", system_}};
  return write_state(path, model_.plan, state_, {tokens_, fingerprint_, note.dump()});
}

Status Session::load(const std::string& path) {
  bool open = false;
  std::string system;
  const auto accept = [&](const StateFileContent& content) -> Status {
    const Result<nlohmann::json> note = parse_json(content.note);
    // A file of an earlier version does not say it.
    const nlohmann::json stated =
        note.ok() && note->is_object() ? note->value("system", nlohmann::json("")) : "";
    const bool conversation = note.ok() && note->is_object() && stated.is_string() &&
                              note->value("chat_template", nlohmann::json()) == chat_.name() &&
                              note->value("open", nlohmann::json()).is_boolean();
    if (!conversation) return invalid(path + ": it is no conversation in the chat template " + chat_.name());
    if (static_cast<int64_t>(content.tokens.size()) > options_.context) {
      return invalid(path + ": it holds " + std::to_string(content.tokens.size()) +
                     " tokens, more than the context of " + std::to_string(options_.context));
    }
    open = (*note)["open"].get<bool>();
    system = stated.get<std::string>();
    return {};
  };
  FATHOM_ASSIGN(StateFileContent content, read_state(path, model_.plan, fingerprint_, state_, accept));
  tokens_ = std::move(content.tokens);
  open_ = open;
  system_ = std::move(system);
  return {};
}

}  // namespace fathom::cli::chat
