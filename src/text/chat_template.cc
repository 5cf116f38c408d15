#include "text/chat_template.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"

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
  const std::string config = directory + "/tokenizer_config.json";
  if (!std::filesystem::exists(config)) return std::string();
  FATHOM_ASSIGN(const std::string text, read_file(config, JsonLimits().max_bytes));
  Result<std::string> jinja = ChatTemplate::jinja_in(text);
  if (!jinja.ok()) return at(config, std::move(jinja).error());
  return jinja;
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
  const auto writes = [&](const char* marker) { return jinja.find(marker) != std::string::npos; };
  if (writes("<|im_start|>") && writes("<|im_end|>")) return named("chatml");
  // The markers of roles may be put together from their names.
  if (writes("<|end|>") && writes("<|assistant|>")) return named("phi");
  return not_supported("not supported yet: the chat template of " + directory +
                       " writes another format than " + list_of(names()) +
                       "; --chat-template names one of them");
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
