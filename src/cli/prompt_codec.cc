#include "cli/prompt_codec.h"

#include <optional>

#include "text/chat_template.h"

namespace fathom::cli {

Result<eval::PromptCodec> prompt_codec_of(const LoadedModel& model, bool chat, const std::string& named) {
  std::optional<text::ChatTemplate> form;
  if (chat && named != "none") {
    FATHOM_ASSIGN(form, chat_template_of(model, named));
  }
  eval::PromptCodec prompts;
  prompts.end_ids = model.end_ids;
  if (form) {
    prompts.chat_template = form->name();
    const int32_t end = model.codec.token_of(form->end_marker());
    if (end >= 0) prompts.end_ids.push_back(end);
  }
  prompts.encode = [&codec = model.codec, form](const std::string& prompt, bool as_message) {
    if (!as_message || !form)
      return codec.encode(prompt, {.add_special_tokens = false, .parse_special = false});
    std::vector<text::PromptPiece> pieces = form->beginning("");
    for (text::PromptPiece& piece : form->message(text::Role::kUser, prompt))
      pieces.push_back(std::move(piece));
    for (text::PromptPiece& piece : form->opening(text::Role::kAssistant)) pieces.push_back(std::move(piece));
    return codec.encode(pieces);
  };
  prompts.decode = [&codec = model.codec](const std::vector<int32_t>& ids) { return codec.decode(ids); };
  return prompts;
}

}  // namespace fathom::cli
