#include "text/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <unordered_map>

#include "base/file.h"
#include "text/encoder.h"
#include "text/incremental_decoder.h"
#include "text/older_files.h"
#include "text/special_tokens.h"
#include "text/text_refused.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_parts.h"

namespace fathom::text {

struct Tokenizer::Impl {
  explicit Impl(TokenizerParts from) : parts(std::move(from)), encoder(parts), bytes(parts.decoder) {
    size = parts.bpe.vocabulary().size();
    if (!parts.added.empty()) size = std::max(size, parts.added.back().id + 1);
    for (const AddedToken& token : parts.added) added_ids.emplace(token.content, token.id);
    for (int32_t id = 0; id < size; ++id) bytes.add(token(id).value_or(""));
  }

  const AddedToken* added(int32_t id) const {
    const auto found = std::ranges::lower_bound(parts.added, id, {}, &AddedToken::id);
    return found == parts.added.end() || found->id != id ? nullptr : &*found;
  }

  std::optional<std::string_view> token(int32_t id) const {
    if (const AddedToken* found = added(id)) return found->content;
    return parts.bpe.vocabulary().token(id);
  }

  std::optional<int32_t> id(std::string_view token) const {
    const auto found = added_ids.find(token);
    if (found != added_ids.end()) return found->second;
    return parts.bpe.vocabulary().find(token);
  }

  TokenizerParts parts;
  Encoder encoder;
  TokenBytes bytes;
  int32_t size = 0;
  std::unordered_map<std::string_view, int32_t> added_ids;  // refers into parts.added
  SpecialIds special_ids;
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::from_json(std::string_view json) {
  FATHOM_ASSIGN(TokenizerParts parts, read_tokenizer_json(json));
  try {
    return Tokenizer(std::make_unique<Impl>(std::move(parts)));
  } catch (const TextRefused& refused) {
    return invalid("added_tokens: " + std::string(refused.what()));
  }
}

bool Tokenizer::is_in(const std::string& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder + "/tokenizer.json", ignored) || has_older_files(folder);
}

Result<Tokenizer> Tokenizer::load(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const bool is_folder = fs::is_directory(path, ignored);
  const fs::path file = is_folder ? fs::path(path) / "tokenizer.json" : fs::path(path);
  const std::string folder = file.parent_path().string();
  const bool older = is_folder && !fs::exists(file, ignored) && has_older_files(folder);
  FATHOM_ASSIGN(const std::string json,
                older ? older_files_as_json(folder) : read_file(file.string(), kMaxTokenizerJson));
  Result<Tokenizer> tokenizer = from_json(json);
  if (!tokenizer.ok()) return at(older ? folder : file.string(), std::move(tokenizer).error());
  SpecialIds& ids = tokenizer->impl_->special_ids;
  FATHOM_ASSIGN(
      ids, read_special_ids(folder, [&](std::string_view token) { return tokenizer->token_to_id(token); }));
  if (!ids.eos) {
    FATHOM_ASSIGN(ids.eos, read_model_end(folder));
    if (ids.eos && !tokenizer->id_to_token(*ids.eos)) ids.eos.reset();
  }
  if (!ids.eos) {
    const std::optional<int32_t> usual = tokenizer->token_to_id("<|endoftext|>");
    if (usual && tokenizer->is_special(*usual)) ids.eos = usual;
  }
  return tokenizer;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::vector<int32_t> ids;
  encode_to(text, options, ids);
  return ids;
}

void Tokenizer::encode_to(std::string_view text, EncodeOptions options, std::vector<int32_t>& out) const {
  impl_->encoder.encode(text, options, out);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  IncrementalDecoder decoder(*this, skip_special);
  std::string out;
  for (int32_t id : ids) out += decoder.push(id);
  return out += decoder.finish();
}

int32_t Tokenizer::vocab_size() const { return impl_->size; }
std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const { return impl_->id(token); }
std::optional<std::string_view> Tokenizer::id_to_token(int32_t id) const { return impl_->token(id); }

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = impl_->added(id);
  return token != nullptr && token->special;
}

const SpecialIds& Tokenizer::special_ids() const { return impl_->special_ids; }
const TokenBytes& Tokenizer::token_bytes() const { return impl_->bytes; }

}  // namespace fathom::text
