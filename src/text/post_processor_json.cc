#include "text/component_json.h"

namespace fathom::text {

namespace {

// A few bytes of a file can name the same long list again and again.
Status check_room(const TemplateIds& held, size_t more, const std::string& where) {
  if (held.prefix.size() + held.suffix.size() + more <= kMaxTemplateIds) return {};
  return invalid(where + " puts more than " + std::to_string(kMaxTemplateIds) + " ids around a text");
}

// The ids of one special token of a template, from the table beside it. They go to the end of `ids`, which
// are the prefix or the suffix of `out`; `where` is the token in the template.
Status append_special(JsonFields& table, const std::string& name, const std::string& where,
                      const TemplateIds& out, std::vector<int32_t>& ids) {
  FATHOM_ASSIGN(const Json* json, table.need(name));
  FATHOM_ASSIGN(JsonFields entry, JsonFields::of(*json, table.path(name)));
  FATHOM_ASSIGN(const Json* list, entry.need("ids"));
  if (!list->is_array()) return invalid(entry.path("ids") + " is " + kind_of(*list) + ", expected an array");
  FATHOM_TRY(check_room(out, list->size(), where));
  for (const Json& id : *list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > uint64_t{kMaxTokenId}) {
      return invalid(entry.path("ids") + " holds " + id.dump() + ", expected ids from 0 to " +
                     std::to_string(kMaxTokenId));
    }
    ids.push_back(id.get<int32_t>());
  }
  return {};
}

Result<TemplateIds> read_template(JsonFields& fields) {
  FATHOM_ASSIGN(const Json* single, fields.need("single"));
  fields.find("pair");  // Fathom encodes single texts
  static const Json kNone = Json::object();
  const Json* specials = fields.find("special_tokens");
  FATHOM_ASSIGN(JsonFields table,
                JsonFields::of(specials == nullptr ? kNone : *specials, fields.path("special_tokens")));
  if (!single->is_array()) {
    return not_supported(fields.path("single") + " is " + kind_of(*single) + ", expected an array");
  }
  TemplateIds out;
  bool seen_text = false;
  for (size_t i = 0; i < single->size(); ++i) {
    const std::string where = fields.path("single") + "[" + std::to_string(i) + "]";
    FATHOM_ASSIGN(JsonFields item, JsonFields::of((*single)[i], where));
    if (const Json* text = item.find("Sequence")) {
      if (seen_text) return invalid(where + " is a second Sequence, expected one");
      FATHOM_ASSIGN(JsonFields sequence, JsonFields::of(*text, item.path("Sequence")));
      FATHOM_ASSIGN(const std::string id, sequence.text("id", "A"));
      if (id != "A") return invalid(sequence.path("id") + " is \"" + id + "\", expected \"A\"");
      seen_text = true;
    } else {
      FATHOM_ASSIGN(const Json* token, item.need("SpecialToken"));
      FATHOM_ASSIGN(JsonFields special, JsonFields::of(*token, item.path("SpecialToken")));
      FATHOM_ASSIGN(const std::string name, special.text("id", std::nullopt));
      FATHOM_TRY(append_special(table, name, where, out, seen_text ? out.suffix : out.prefix));
    }
    FATHOM_TRY(item.finish());
  }
  if (!seen_text) return invalid(fields.path("single") + " has no Sequence, so it would drop the text");
  return out;
}

Status add(const Json& json, const std::string& where, int depth, TemplateIds& out) {
  FATHOM_ASSIGN(JsonFields fields, JsonFields::of(json, where));
  FATHOM_ASSIGN(const std::string type, fields.text("type", std::nullopt));
  if (type == "Sequence") {
    FATHOM_ASSIGN(const Json* list, fields.need("processors"));
    const std::string path = fields.path("processors");
    if (!list->is_array()) return invalid(path + " is " + kind_of(*list) + ", expected an array");
    if (depth == kMaxNesting)
      return invalid(path + " is nested more than " + std::to_string(kMaxNesting) + " deep");
    for (size_t i = 0; i < list->size(); ++i) {
      FATHOM_TRY(add((*list)[i], path + "[" + std::to_string(i) + "]", depth + 1, out));
    }
  } else if (type == "TemplateProcessing") {
    // A later template goes around what earlier ones made.
    FATHOM_ASSIGN(TemplateIds ids, read_template(fields));
    FATHOM_TRY(check_room(out, ids.prefix.size() + ids.suffix.size(), where));
    out.prefix.insert(out.prefix.begin(), ids.prefix.begin(), ids.prefix.end());
    out.suffix.insert(out.suffix.end(), ids.suffix.begin(), ids.suffix.end());
  } else if (type == "ByteLevel") {
    // Concerns offsets only.
    for (const char* flag : {"add_prefix_space", "trim_offsets", "use_regex"})
      FATHOM_TRY(fields.boolean(flag, true));
  } else {
    return unknown_type(fields, type, "ByteLevel, TemplateProcessing and Sequence");
  }
  return fields.finish();
}

}  // namespace

Result<TemplateIds> read_post_processor(const Json& json, const std::string& where) {
  TemplateIds ids;
  FATHOM_TRY(add(json, where, 0, ids));
  return ids;
}

}  // namespace fathom::text
