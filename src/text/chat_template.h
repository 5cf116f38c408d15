// How the messages of a conversation become the text of a prompt. Two formats are built in; the Jinja
// template of a model only says which of them it is, and what it writes before the first message.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom::text {

enum class Role : uint8_t { kSystem, kUser, kAssistant };
std::string_view word_of(Role role);

// A piece of a prompt: a marker, which is a special token of the tokenizer, or text, in which whatever looks
// like a marker is text.
struct PromptPiece {
  std::string text;
  bool marker = false;
  bool operator==(const PromptPiece&) const = default;
};

class ChatTemplate {
 public:
  // "phi": <|user|>text<|end|><|assistant|>. "chatml": <|im_start|>user\ntext<|im_end|>\n<|im_start|>...
  // Error: another name.
  static Result<ChatTemplate> named(std::string_view name);
  static const std::vector<std::string>& names();

  // The format that the model's Jinja template writes (chat_template.jinja, else chat_template of
  // chat_template.json, else that of tokenizer_config.json). Errors: there is none; of_jinja().
  static Result<ChatTemplate> of_model(const std::string& directory);
  // The format that a Jinja template writes, told by its markers. If the variable bos_token is the first
  // thing it writes, prompts begin with the marker `bos`, unless that is empty. Error, the end of a sentence:
  // it writes another format, also one that differs in line breaks.
  static Result<ChatTemplate> of_jinja(std::string_view jinja, const std::string& bos);
  // The Jinja template in the content of a tokenizer_config.json or chat_template.json; empty if it has none.
  // Errors, without a path: it is no JSON, or chat_template is neither a string nor a list of named ones with
  // a "default".
  static Result<std::string> jinja_in(std::string_view config);

  const std::string& name() const { return name_; }
  // What stands before the first message of a user: the token that begins a text if the model's template
  // writes it, and the system message. Without one (empty) the sentence that the template has for that case;
  // a sentence that it always writes goes before the message.
  std::vector<PromptPiece> beginning(const std::string& system) const;
  // A whole message.
  std::vector<PromptPiece> message(Role role, const std::string& text) const;
  // What stands before an answer that is to be generated.
  std::vector<PromptPiece> opening(Role role) const;
  // What ends a message; its first piece is the marker that ends an answer.
  std::vector<PromptPiece> closing() const;
  const std::string& end_marker() const { return end_; }

 private:
  std::string name_, end_, bos_;
  std::string sentence_;         // a system message of the template's own
  bool sentence_stays_ = false;  // before another system message, too
};

}  // namespace fathom::text
