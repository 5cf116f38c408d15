// Readers of the components of tokenizer.json. Each takes the component's JSON and its path in the file, for
// messages.
#pragma once

#include <string>

#include "base/result.h"
#include "text/json_fields.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_bytes.h"
#include "text/vocabulary.h"

namespace fathom::text {

Result<Normalizer> read_normalizer(const Json& json, const std::string& where);
Result<PreTokenizer> read_pre_tokenizer(const Json& json, const std::string& where);
Result<DecoderSpec> read_decoder(const Json& json, const std::string& where);

// The ids that post-processors put before and after a single text, at most kMaxTemplateIds together.
struct TemplateIds {
  std::vector<int32_t> prefix, suffix;
};
inline constexpr size_t kMaxTemplateIds = 1024;
Result<TemplateIds> read_post_processor(const Json& json, const std::string& where);

// {"String": "..."} or {"Regex": "..."}, as normalizers and Split have it.
Result<Regex> read_pattern(JsonFields& fields, const std::string& key);

// A text that takes the place of another, or goes before it. At most kMaxReplacement bytes: what is short in
// the file must not become long in use.
Result<std::string> read_replacement(JsonFields& fields, const std::string& key);
inline constexpr size_t kMaxReplacement = 256;

// The one character that a Metaspace puts in the place of a space.
Result<std::string> read_space_character(JsonFields& fields);

// When a Metaspace puts it before a text that does not begin with it: "always", "first" or "never". Older
// files say with `add_prefix_space` whether it ever does.
Result<std::string> read_prepend_scheme(JsonFields& fields);

// "where.type is X; supported are ...": the answer to a component of a kind that is not known.
Error unknown_type(const JsonFields& fields, const std::string& type, const std::string& supported);

// Components nested in a Sequence deeper than this are refused.
inline constexpr int kMaxNesting = 8;

// Every text goes through every step of a normalizer and of a pre-tokenizer, every token through every
// replacement of a decoder: more than this many are refused. `where` is the component that made the last one.
inline constexpr size_t kMaxSteps = 64;
Status check_steps(size_t steps, const std::string& where);

}  // namespace fathom::text
