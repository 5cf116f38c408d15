#include "text/chat_template.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "text/jinja_text.h"
#include "text/special_tokens.h"

namespace fathom::text {

namespace {

constexpr uint64_t kMaxTemplate = uint64_t{1} << 20;

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// The model's Jinja template; empty if it has none.
Result<std::string> jinja_of(const std::string& directory) {
  const std::string file = directory + "/chat_template.jinja";
  if (std::filesystem::exists(file)) return read_file(file, kMaxTemplate);
  for (const char* name : {"/chat_template.json", "/tokenizer_config.json"}) {
    const std::string config = directory + name;
    if (!std::filesystem::exists(config)) continue;
    FATHOM_ASSIGN(const std::string text, read_file(config, JsonLimits().max_bytes));
    Result<std::string> jinja = ChatTemplate::jinja_in(text);
    if (!jinja.ok()) return at(config, std::move(jinja).error());
    if (!jinja->empty()) return jinja;
  }
  return std::string();
}

using Pieces = std::vector<std::string>;

bool writes(const Pieces& pieces, std::string_view text) {
  return std::ranges::any_of(pieces,
                             [&](const std::string& piece) { return piece.find(text) != std::string::npos; });
}

std::string text_of(const std::vector<PromptPiece>& prompt) {
  std::string text;
  for (const PromptPiece& piece : prompt) text += piece.text;
  return text;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

// Whether line breaks touch markers: `|>` may be the end of one whose name is a variable.
bool breaks_lines_at_markers(const Pieces& pieces) {
  return writes(pieces, "|>\n") || writes(pieces, "\n<|") ||
         std::ranges::any_of(pieces, [](const std::string& piece) {
           return is_blank(piece) && piece.find('\n') != std::string::npos;
         });
}

// Whether blanks stand between a marker and a message.
bool pads_messages(const Pieces& pieces) { return writes(pieces, "|> ") || writes(pieces, " <|"); }

// Whether an answer begins with more than `opening`: behind it in one piece, or with a tag of reasoning in
// the next one that is not closed there. A template that writes an empty reasoning does so where there is to
// be none.
bool begins_answers(const Pieces& pieces, std::string_view opening) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    const size_t at = pieces[i].find(opening);
    if (at == std::string::npos) continue;
    if (at + opening.size() < pieces[i].size()) return true;
    const std::string_view next = i + 1 < pieces.size() ? std::string_view(pieces[i + 1]) : "";
    if (next.starts_with("<think>") && next.find("</think>") == std::string_view::npos) return true;
  }
  return false;
}

// Whether each end of a message is followed by a line break, in the same piece or in the next one.
bool ends_lines(const Pieces& pieces, std::string_view end) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    for (size_t at = pieces[i].find(end); at != std::string::npos; at = pieces[i].find(end, at + 1)) {
      std::string_view behind = std::string_view(pieces[i]).substr(at + end.size());
      if (behind.empty() && i + 1 < pieces.size()) behind = pieces[i + 1];
      if (!behind.starts_with('\n')) return false;
    }
  }
  return true;
}

// A system message that stands in one piece behind `opening`. If nothing ends it there, more comes behind it.
struct Sentence {
  std::string text;
  bool ended = false;
};

Sentence system_sentence(const Pieces& pieces, std::string_view opening, std::string_view end) {
  for (const std::string& piece : pieces) {
    const size_t at = piece.find(opening);
    if (at == std::string::npos) continue;
    const std::string behind = piece.substr(at + opening.size());
    const size_t length = behind.find(end);
    Sentence found = {behind.substr(0, length), length != std::string::npos};
    if (!is_blank(found.text)) return found;
  }
  return {};
}

}  // namespace

std::string_view word_of(Role role) {
  switch (role) {
    case Role::kSystem:
      return "system";
    case Role::kUser:
      return "user";
    case Role::kAssistant:
      break;
  }
  return "assistant";
}

const std::vector<std::string>& ChatTemplate::names() {
  static const std::vector<std::string> all = {"phi", "chatml"};
  return all;
}

Result<ChatTemplate> ChatTemplate::named(std::string_view name) {
  if (std::ranges::find(names(), name) == names().end()) {
    return invalid("chat template: found \"" + std::string(name) + "\", expected one of " + list_of(names()));
  }
  ChatTemplate chat;
  chat.name_ = name;
  chat.end_ = name == "phi" ? "<|end|>" : "<|im_end|>";
  return chat;
}

// A string, or a list of named templates, of which "default" counts.
Result<std::string> ChatTemplate::jinja_in(std::string_view config) {
  FATHOM_ASSIGN(const nlohmann::json json, parse_json(config));
  if (!json.is_object() || !json.contains("chat_template")) return std::string();
  const nlohmann::json& stated = json["chat_template"];
  if (stated.is_string()) return stated.get<std::string>();
  if (stated.is_array()) {
    for (const nlohmann::json& entry : stated) {
      if (entry.is_object() && entry.value("name", nlohmann::json()) == "default" &&
          entry.value("template", nlohmann::json()).is_string())
        return entry["template"].get<std::string>();
    }
  }
  return invalid("chat_template is neither a string nor a list with a template named \"default\"");
}

Result<ChatTemplate> ChatTemplate::of_model(const std::string& directory) {
  FATHOM_ASSIGN(const std::string jinja, jinja_of(directory));
  if (jinja.empty()) {
    return not_found(directory + " has no chat template; --chat-template names one of " + list_of(names()));
  }
  FATHOM_ASSIGN(const std::string bos, read_first_token(directory));
  Result<ChatTemplate> chat = of_jinja(jinja, bos);
  if (chat.ok()) return chat;
  return not_supported("not supported yet: the chat template of " + directory + " " + chat.error().message);
}

Result<ChatTemplate> ChatTemplate::of_jinja(std::string_view jinja, const std::string& bos) {
  const JinjaText read = read_jinja_text(jinja);
  const Pieces& pieces = read.pieces;
  const auto another = [](const std::string& what) {
    return not_supported("writes " + what + "another format than " + list_of(names()) +
                         "; --chat-template names one of them");
  };
  if (writes(pieces, "<|im_sep|>")) return another("<|im_sep|>, ");
  const bool chatml = writes(pieces, "<|im_start|>") && writes(pieces, "<|im_end|>");
  // The markers of roles may be put together from their names.
  if (!chatml && !(writes(pieces, "<|end|>") && writes(pieces, "<|assistant|>"))) return another("");
  if (read.names_bos_elsewhere) return another("bos_token in other places than the start, ");
  if (chatml && !ends_lines(pieces, "<|im_end|>"))
    return another("<|im_end|> without a line break behind it, ");
  if (!chatml && breaks_lines_at_markers(pieces)) return another("line breaks at its markers, ");
  if (!chatml && pads_messages(pieces)) return another("blanks at its markers, ");
  FATHOM_ASSIGN(ChatTemplate chat, named(chatml ? "chatml" : "phi"));
  if (begins_answers(pieces, text_of(chat.opening(Role::kAssistant))))
    return another("more than a marker before an answer, ");
  if (read.begins_with_bos) chat.bos_ = bos;
  const Sentence sentence = system_sentence(pieces, text_of(chat.opening(Role::kSystem)), chat.end_);
  // What goes on behind it in chatml describes tools, which nobody has here.
  if (sentence.ended || !chatml) chat.sentence_ = sentence.text;
  chat.sentence_stays_ = !chat.sentence_.empty() && !sentence.ended;
  return chat;
}

std::vector<PromptPiece> ChatTemplate::beginning(const std::string& system) const {
  std::vector<PromptPiece> pieces;
  if (!bos_.empty()) pieces.push_back({bos_, true});
  std::string text = system;
  if (system.empty()) {
    text = sentence_;
  } else if (sentence_stays_) {
    text = sentence_ + " " + system;
  }
  if (text.empty()) return pieces;
  for (PromptPiece& piece : message(Role::kSystem, text)) pieces.push_back(std::move(piece));
  return pieces;
}

std::vector<PromptPiece> ChatTemplate::opening(Role role) const {
  const std::string word(word_of(role));
  if (name_ == "phi") return {{"<|" + word + "|>", true}};
  return {{"<|im_start|>", true}, {word + "\n", false}};
}

std::vector<PromptPiece> ChatTemplate::closing() const {
  if (name_ == "phi") return {{end_, true}};
  return {{end_, true}, {"\n", false}};
}

std::vector<PromptPiece> ChatTemplate::message(Role role, const std::string& text) const {
  std::vector<PromptPiece> pieces = opening(role);
  // Text behind text is one piece: where tokens end must not depend on who wrote what.
  if (!pieces.back().marker) {
    pieces.back().text += text;
  } else if (!text.empty()) {
    pieces.push_back({text, false});
  }
  for (PromptPiece& piece : closing()) pieces.push_back(std::move(piece));
  return pieces;
}

}  // namespace fathom::text
