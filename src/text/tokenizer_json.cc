#include "text/tokenizer_json.h"

#include <algorithm>
#include <map>
#include <optional>

#include "text/component_json.h"
#include "text/json_fields.h"

namespace fathom::text {

namespace {

constexpr JsonLimits kTokenizerLimits = {
    .max_bytes = kMaxTokenizerJson, .max_depth = 32, .max_values = 10'000'000};

using Pairs = std::vector<std::pair<std::string, std::string>>;

// Ids may have gaps, but tables are sized by the highest, so a few bytes must not ask for millions of
// entries.
Status check_gaps(const std::string& where, int64_t highest, size_t tokens) {
  const int64_t most = 65536 + 8 * static_cast<int64_t>(tokens);
  if (highest <= most) return {};
  return invalid(where + " has the id " + std::to_string(highest) + " among " + std::to_string(tokens) +
                 " tokens, expected at most " + std::to_string(most));
}

// The members of model.vocab and model.merges, taken while the file is read: they are most of it. What is
// wrong with them is said when the model is read, behind what says more about the file.
class ModelMembers {
 public:
  std::vector<JsonMembers> takers() {
    return {{{"model", "vocab"}, [this](std::string& token, Json& id) { take_token(token, id); }},
            {{"model", "merges"}, [this](std::string&, Json& merge) { take_merge(merge); }}};
  }

  Result<Vocabulary> vocabulary(JsonFields& model);
  Result<Pairs> merges(JsonFields& model);

 private:
  void take_token(std::string& token, const Json& id) {
    if (wrong_token_) return;
    if (token.size() > kMaxTokenLength) {
      wrong_token_ = " has a token of " + std::to_string(token.size()) + " bytes, expected at most " +
                     std::to_string(kMaxTokenLength);
    } else if (!id.is_number_unsigned() || id.get<uint64_t>() > uint64_t{kMaxTokenId}) {
      wrong_token_ = " gives \"" + token + "\" the id " + id.dump() + ", expected an integer from 0 to " +
                     std::to_string(kMaxTokenId);
    } else {
      tokens_.emplace_back(std::move(token), id.get<int64_t>());
    }
  }

  // "a b" or ["a", "b"].
  void take_merge(Json& merge) {
    if (wrong_merge_) return;
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges_.emplace_back(std::move(merge[0].get_ref<std::string&>()),
                           std::move(merge[1].get_ref<std::string&>()));
      return;
    }
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
        merges_.emplace_back(text.substr(0, space), text.substr(space + 1));
        return;
      }
    }
    wrong_merge_ =
        std::string("[") + std::to_string(merges_.size()) + "] is not two tokens: \"a b\" or [\"a\", \"b\"]";
  }

  std::vector<std::pair<std::string, int64_t>> tokens_;
  Pairs merges_;
  std::optional<std::string> wrong_token_, wrong_merge_;  // the first of each, behind its path
};

// Both may be called once.
Result<Vocabulary> ModelMembers::vocabulary(JsonFields& model) {
  FATHOM_ASSIGN(const Json* vocab, model.need("vocab"));
  const std::string where = model.path("vocab");
  if (!vocab->is_object()) return invalid(where + " is " + kind_of(*vocab) + ", expected an object");
  if (wrong_token_) return invalid(where + *wrong_token_);
  if (tokens_.empty()) return invalid(where + " is empty");
  const int64_t highest =
      std::ranges::max_element(tokens_, {}, [](auto& entry) { return entry.second; })->second;
  FATHOM_TRY(check_gaps(where, highest, tokens_.size()));
  Result<Vocabulary> out = Vocabulary::create(std::move(tokens_));
  if (!out.ok()) return at(where, std::move(out).error());
  return out;
}

Result<Pairs> ModelMembers::merges(JsonFields& model) {
  FATHOM_ASSIGN(const Json* merges, model.need("merges"));
  const std::string where = model.path("merges");
  if (!merges->is_array()) return invalid(where + " is " + kind_of(*merges) + ", expected an array");
  if (wrong_merge_) return invalid(where + *wrong_merge_);
  return std::move(merges_);
}

Result<Bpe> read_model(const Json& json, ModelMembers& members) {
  FATHOM_ASSIGN(JsonFields model, JsonFields::of(json, "model"));
  FATHOM_ASSIGN(const std::string type, model.text("type", "BPE"));
  if (type != "BPE") return unknown_type(model, type, "BPE");
  if (model.find("dropout") != nullptr) return not_supported("model.dropout is set, expected null");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    FATHOM_ASSIGN(const std::string affix, model.text(key, ""));
    if (!affix.empty()) return not_supported(model.path(key) + " is \"" + affix + "\", expected none");
  }
  BpeOptions options;
  FATHOM_ASSIGN(options.unk_token, model.text("unk_token", ""));
  FATHOM_ASSIGN(options.fuse_unk, model.boolean("fuse_unk", false));
  FATHOM_ASSIGN(options.byte_fallback, model.boolean("byte_fallback", false));
  FATHOM_ASSIGN(options.ignore_merges, model.boolean("ignore_merges", false));
  FATHOM_ASSIGN(Vocabulary vocabulary, members.vocabulary(model));
  FATHOM_ASSIGN(const Pairs merges, members.merges(model));
  FATHOM_TRY(model.finish());
  Result<Bpe> bpe = Bpe::create(std::move(vocabulary), merges, std::move(options));
  if (!bpe.ok()) return at("model", std::move(bpe).error());
  return bpe;
}

Result<AddedToken> read_added_token(const Json& json, const std::string& where) {
  FATHOM_ASSIGN(JsonFields fields, JsonFields::of(json, where));
  AddedToken token;
  FATHOM_ASSIGN(const int64_t id, fields.integer("id", std::nullopt));
  if (id < 0 || id > kMaxTokenId) {
    return invalid(fields.path("id") + " is " + std::to_string(id) + ", expected 0 to " +
                   std::to_string(kMaxTokenId));
  }
  token.id = static_cast<int32_t>(id);
  FATHOM_ASSIGN(token.content, fields.text("content", std::nullopt));
  if (token.content.empty()) return invalid(fields.path("content") + " is empty, expected text");
  if (token.content.size() > kMaxTokenLength) {
    return invalid(fields.path("content") + " has " + std::to_string(token.content.size()) +
                   " bytes, expected at most " + std::to_string(kMaxTokenLength));
  }
  FATHOM_ASSIGN(token.special, fields.boolean("special", false));
  FATHOM_ASSIGN(token.normalized, fields.boolean("normalized", !token.special));
  FATHOM_ASSIGN(token.single_word, fields.boolean("single_word", false));
  FATHOM_ASSIGN(token.lstrip, fields.boolean("lstrip", false));
  FATHOM_ASSIGN(token.rstrip, fields.boolean("rstrip", false));
  FATHOM_TRY(fields.finish());
  return token;
}

// Added tokens may repeat tokens of the model, with the same id, and may not clash with others.
Result<std::vector<AddedToken>> read_added_tokens(const Json& json, const Vocabulary& model) {
  if (!json.is_array()) return invalid("added_tokens is " + kind_of(json) + ", expected an array");
  std::map<int32_t, AddedToken> by_id;
  std::map<std::string, int32_t> by_content;
  for (size_t i = 0; i < json.size(); ++i) {
    const std::string where = "added_tokens[" + std::to_string(i) + "]";
    FATHOM_ASSIGN(AddedToken token, read_added_token(json[i], where));
    const auto in_model = model.find(token.content);
    if (in_model && *in_model != token.id) {
      return invalid(where + " gives \"" + token.content + "\" the id " + std::to_string(token.id) +
                     ", but it is " + std::to_string(*in_model) + " in model.vocab");
    }
    const auto holder = model.token(token.id);
    if (holder && *holder != token.content) {
      return invalid(where + " (\"" + token.content + "\") has the id " + std::to_string(token.id) +
                     ", which is \"" + std::string(*holder) + "\" in model.vocab");
    }
    if (!by_content.emplace(token.content, token.id).second || by_id.contains(token.id)) {
      return invalid(where + " (\"" + token.content + "\", id " + std::to_string(token.id) +
                     ") was added before");
    }
    by_id.emplace(token.id, std::move(token));
  }
  const int64_t highest = by_id.empty() ? 0 : by_id.rbegin()->first;
  FATHOM_TRY(check_gaps("added_tokens", highest, by_id.size() + static_cast<size_t>(model.size())));
  std::vector<AddedToken> out;
  for (auto& [id, token] : by_id) out.push_back(std::move(token));
  return out;
}

// Ids that a template adds must be tokens.
Status check_template(const TokenizerParts& parts) {
  for (const auto* ids : {&parts.prefix_ids, &parts.suffix_ids}) {
    for (int32_t id : *ids) {
      const bool added = std::ranges::binary_search(parts.added, id, {}, &AddedToken::id);
      if (!added && !parts.bpe.vocabulary().token(id)) {
        return invalid("post_processor adds the id " + std::to_string(id) + ", which is no token");
      }
    }
  }
  return {};
}

}  // namespace

Result<TokenizerParts> read_tokenizer_json(std::string_view text) {
  ModelMembers members;
  FATHOM_ASSIGN(const Json json, parse_json(text, kTokenizerLimits, members.takers()));
  FATHOM_ASSIGN(JsonFields root, JsonFields::of(json, ""));
  FATHOM_ASSIGN(const std::string version, root.text("version", "1.0"));
  if (version != "1.0") return not_supported("version is \"" + version + "\", expected \"1.0\"");
  for (const char* ignored : {"truncation", "padding"}) root.find(ignored);
  FATHOM_ASSIGN(const Json* model, root.need("model"));
  FATHOM_ASSIGN(Bpe bpe, read_model(*model, members));
  TokenizerParts parts{.normalizer = {},
                       .pre_tokenizer = {},
                       .bpe = std::move(bpe),
                       .added = {},
                       .decoder = {},
                       .prefix_ids = {},
                       .suffix_ids = {}};
  if (const Json* added = root.find("added_tokens")) {
    FATHOM_ASSIGN(parts.added, read_added_tokens(*added, parts.bpe.vocabulary()));
  }
  if (const Json* normalizer = root.find("normalizer")) {
    FATHOM_ASSIGN(parts.normalizer, read_normalizer(*normalizer, "normalizer"));
  }
  if (const Json* pre_tokenizer = root.find("pre_tokenizer")) {
    FATHOM_ASSIGN(parts.pre_tokenizer, read_pre_tokenizer(*pre_tokenizer, "pre_tokenizer"));
  }
  if (const Json* decoder = root.find("decoder")) {
    FATHOM_ASSIGN(parts.decoder, read_decoder(*decoder, "decoder"));
  } else {
    parts.decoder.byte_level = parts.pre_tokenizer.maps_bytes();
  }
  if (const Json* post_processor = root.find("post_processor")) {
    FATHOM_ASSIGN(TemplateIds ids, read_post_processor(*post_processor, "post_processor"));
    parts.prefix_ids = std::move(ids.prefix);
    parts.suffix_ids = std::move(ids.suffix);
  }
  FATHOM_TRY(root.finish());
  FATHOM_TRY(check_template(parts));
  return parts;
}

}  // namespace fathom::text
