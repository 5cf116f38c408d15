#include <algorithm>

#include "text/component_json.h"

namespace fathom::text {

namespace {

constexpr const char* kSupported = "ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip and Sequence";

Status add_replace(JsonFields& fields, DecoderSpec& spec) {
  FATHOM_ASSIGN(const Json* json, fields.need("pattern"));
  FATHOM_ASSIGN(JsonFields pattern, JsonFields::of(*json, fields.path("pattern")));
  FATHOM_ASSIGN(std::string from, pattern.text("String", std::nullopt));
  FATHOM_TRY(pattern.finish());
  FATHOM_ASSIGN(std::string to, read_replacement(fields, "content"));
  if (from.empty()) return invalid(pattern.path("String") + " is empty");
  spec.replacements.emplace_back(std::move(from), std::move(to));
  return {};
}

Status add_metaspace(JsonFields& fields, DecoderSpec& spec) {
  FATHOM_ASSIGN(std::string replacement, read_space_character(fields));
  FATHOM_ASSIGN(const std::string scheme, read_prepend_scheme(fields));
  FATHOM_TRY(fields.boolean("split", true));
  spec.replacements.emplace_back(std::move(replacement), " ");
  spec.first_token_without_spaces = scheme != "never";
  return {};
}

// Applied to the whole text, so it must come after Fuse.
Status add_strip(JsonFields& fields, bool fused, DecoderSpec& spec) {
  FATHOM_ASSIGN(spec.strip, fields.text("content", std::nullopt));
  FATHOM_ASSIGN(const int64_t start, fields.integer("start", 0));
  FATHOM_ASSIGN(const int64_t stop, fields.integer("stop", 0));
  constexpr int64_t kMaxStart = 1024;
  if (!fused || spec.strip.empty() || start < 0 || start > kMaxStart || stop != 0) {
    return not_supported(fields.where() +
                         " is a Strip other than of a number of characters at the start, after Fuse");
  }
  spec.strip_count = static_cast<int32_t>(start);
  return {};
}

Status add(const Json& json, const std::string& where, int depth, bool& fused, DecoderSpec& spec) {
  FATHOM_ASSIGN(JsonFields fields, JsonFields::of(json, where));
  FATHOM_ASSIGN(const std::string type, fields.text("type", std::nullopt));
  if (type == "Sequence") {
    FATHOM_ASSIGN(const Json* list, fields.need("decoders"));
    const std::string path = fields.path("decoders");
    if (!list->is_array()) return invalid(path + " is " + kind_of(*list) + ", expected an array");
    if (depth == kMaxNesting)
      return invalid(path + " is nested more than " + std::to_string(kMaxNesting) + " deep");
    for (size_t i = 0; i < list->size(); ++i) {
      FATHOM_TRY(add((*list)[i], path + "[" + std::to_string(i) + "]", depth + 1, fused, spec));
    }
    return fields.finish();
  }
  if (type == "Strip") {
    FATHOM_TRY(add_strip(fields, fused, spec));
    return fields.finish();
  }
  if (type == "Fuse") {
    fused = true;
    return fields.finish();
  }
  if (fused) return not_supported(where + " is a " + type + " after Fuse, where only Strip is supported");
  if (type == "Replace" || type == "Metaspace") {
    // Replacing works on the token's string, before bytes are made of it.
    if (spec.byte_fallback || spec.byte_level)
      return not_supported(where + " is a " + type + " after bytes were made");
    FATHOM_TRY(type == "Replace" ? add_replace(fields, spec) : add_metaspace(fields, spec));
    FATHOM_TRY(check_steps(spec.replacements.size(), where));
  } else if (type == "ByteFallback") {
    spec.byte_fallback = true;
  } else if (type == "ByteLevel") {
    for (const char* flag : {"add_prefix_space", "trim_offsets", "use_regex"})
      FATHOM_TRY(fields.boolean(flag, true));
    spec.byte_level = true;
  } else {
    return unknown_type(fields, type, kSupported);
  }
  return fields.finish();
}

// Replacements run one after another over every token of the vocabulary, so what each adds multiplies.
Status check_growth(const DecoderSpec& spec, const std::string& where) {
  constexpr uint64_t kMost = 64;
  uint64_t growth = 1;
  for (const auto& [from, to] : spec.replacements) {
    growth *= std::max<uint64_t>(1, (to.size() + from.size() - 1) / from.size());
    if (growth > kMost) {
      return invalid(where + " makes tokens more than " + std::to_string(kMost) + " times as long");
    }
  }
  return {};
}

}  // namespace

Result<DecoderSpec> read_decoder(const Json& json, const std::string& where) {
  DecoderSpec spec;
  bool fused = false;
  FATHOM_TRY(add(json, where, 0, fused, spec));
  FATHOM_TRY(check_growth(spec, where));
  return spec;
}

}  // namespace fathom::text
