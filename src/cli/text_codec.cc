#include "cli/text_codec.h"

#include <utility>

#include "data/text_documents.h"
#include "text/token_bytes.h"
#include "text/utf8.h"

namespace fathom::cli {

Result<TextCodec> TextCodec::open(const std::string& where) {
  TextCodec codec;
  codec.end_of_text_ = kByteEndOfDocument;
  if (where == "bytes") return codec;
  FATHOM_ASSIGN(text::Tokenizer tokenizer, text::Tokenizer::load(where));
  codec.end_of_text_ = tokenizer.special_ids().eos.value_or(-1);
  codec.tokenizer_ = std::make_shared<const text::Tokenizer>(std::move(tokenizer));
  return codec;
}

Result<TextCodec> TextCodec::of_model(const std::string& directory, int64_t vocab_size) {
  if (text::Tokenizer::is_in(directory)) return open(directory);
  if (vocab_size == kByteVocabSize) return open("bytes");
  return not_found(directory + "/tokenizer.json does not exist, and a vocabulary of " +
                   std::to_string(vocab_size) + " is not that of bytes (257)");
}

std::vector<int32_t> TextCodec::encode(std::string_view text, text::EncodeOptions options) const {
  return tokenizer_ ? tokenizer_->encode(text, options) : tokenize_bytes(text);
}

void TextCodec::encode_to(std::string_view text, text::EncodeOptions options,
                          std::vector<int32_t>& out) const {
  if (tokenizer_) return tokenizer_->encode_to(text, options, out);
  for (const char byte : text) out.push_back(static_cast<uint8_t>(byte));
}

std::string TextCodec::bytes_of(int32_t id) const {
  if (tokenizer_) return std::string(tokenizer_->token_bytes().of(id));
  return id < 256 ? std::string(1, static_cast<char>(static_cast<uint8_t>(id))) : std::string();
}

int32_t TextCodec::start_of_text() const {
  return tokenizer_ ? tokenizer_->special_ids().bos.value_or(end_of_text_) : end_of_text_;
}

int64_t TextCodec::vocab_size() const { return tokenizer_ ? tokenizer_->vocab_size() : kByteVocabSize; }

int32_t TextCodec::token_of(std::string_view special) const {
  const std::optional<int32_t> id = tokenizer_ ? tokenizer_->token_to_id(special) : std::nullopt;
  return id && tokenizer_->is_special(*id) ? *id : -1;
}

std::vector<int32_t> TextCodec::encode(const std::vector<text::PromptPiece>& pieces) const {
  std::vector<int32_t> all;
  for (const text::PromptPiece& piece : pieces) {
    const int32_t marker = piece.marker ? token_of(piece.text) : -1;
    if (marker >= 0) {
      all.push_back(marker);
      continue;
    }
    const std::vector<int32_t> ids = encode(piece.text, {.parse_special = false});
    all.insert(all.end(), ids.begin(), ids.end());
  }
  return all;
}

Result<std::vector<int32_t>> TextCodec::encode_prompt(std::string_view prompt, int32_t start) const {
  std::vector<int32_t> ids = encode(prompt);
  if (!ids.empty()) return ids;
  if (start < 0) return invalid("an empty prompt, and the model has no token to start from");
  return std::vector<int32_t>{start};
}

std::string TextCodec::decode(const std::vector<int32_t>& ids) const {
  Stream stream(*this);
  std::string text;
  for (int32_t id : ids) text += stream.push(id);
  return text + stream.finish();
}

std::string TextCodec::decode(std::span<const int32_t> ids, bool skip_special) const {
  return tokenizer_ ? tokenizer_->decode(ids, skip_special)
                    : decode(std::vector<int32_t>(ids.begin(), ids.end()));
}

TextCodec::Stream::Stream(const TextCodec& codec, const std::vector<std::string_view>& kept) {
  if (!codec.tokenizer_) return;
  std::vector<int32_t> ids;
  for (const std::string_view special : kept) ids.push_back(codec.token_of(special));
  decoder_ = std::make_unique<text::IncrementalDecoder>(*codec.tokenizer_, true, std::move(ids));
}

std::string TextCodec::Stream::push(int32_t id) {
  if (decoder_) return decoder_->push(id);
  if (id < 256) pending_ += static_cast<char>(static_cast<uint8_t>(id));
  std::string complete;
  size_t at = 0;
  while (at < pending_.size()) {
    const std::string_view rest = std::string_view(pending_).substr(at);
    const text::Utf8Unit unit = text::next_unit(rest);
    if (unit.kind == text::Utf8Kind::kIncomplete) break;
    complete +=
        unit.kind == text::Utf8Kind::kCharacter ? rest.substr(0, unit.size) : text::kReplacementCharacter;
    at += unit.size;
  }
  pending_.erase(0, at);
  return complete;
}

std::string TextCodec::Stream::finish() {
  if (decoder_) return decoder_->finish();
  std::string rest = text::replace_invalid_utf8(pending_);
  pending_.clear();
  return rest;
}

}  // namespace fathom::cli
