#include "cli/depth_file.h"

#include "base/json.h"
#include "base/sentence.h"

namespace fathom::cli {

namespace {

struct Range {
  int least = 1, most = 1;
};

Status add(const nlohmann::json& value, const std::string& where, Range range, std::vector<uint8_t>& depths) {
  if (!value.is_number_integer() || value.get<int64_t>() < range.least || value.get<int64_t>() > range.most) {
    return invalid(where + ": found " + one_line(value.dump()) + ", expected a number of passes from " +
                   std::to_string(range.least) + " to " + std::to_string(range.most));
  }
  depths.push_back(value.get<uint8_t>());
  return {};
}

Result<std::vector<uint8_t>> depths_of(const nlohmann::json& json, const std::string& name, Range range) {
  std::vector<uint8_t> depths;
  const auto add_list = [&](const nlohmann::json& list, const std::string& key) -> Status {
    for (size_t i = 0; i < list.size(); ++i)
      FATHOM_TRY(add(list[i], name + ": " + key + "[" + std::to_string(i) + "]", range, depths));
    return {};
  };
  if (json.is_array()) {
    FATHOM_TRY(add_list(json, "depths"));
  } else if (json.is_object() && json.contains("prompt_depths") && json["prompt_depths"].is_array() &&
             json.contains("tokens") && json["tokens"].is_array()) {
    FATHOM_TRY(add_list(json["prompt_depths"], "prompt_depths"));
    for (size_t i = 0; i < json["tokens"].size(); ++i) {
      const nlohmann::json& token = json["tokens"][i];
      const std::string where = name + ": tokens[" + std::to_string(i) + "]";
      if (!token.is_object()) return invalid(where + " is no object");
      // The last token drawn has a depth only where it was run.
      if (!token.contains("depth") && i + 1 == json["tokens"].size()) break;
      if (!token.contains("depth")) return invalid(where + " has no depth");
      FATHOM_TRY(add(token["depth"], where + ".depth", range, depths));
    }
  } else {
    return invalid(name +
                   ": expected what `fathom generate --json` prints of a routed model, or a list of depths");
  }
  if (depths.empty()) return invalid(name + ": holds no depths");
  return depths;
}

}  // namespace

Result<std::vector<uint8_t>> read_depths(const std::string& path, int least, int most) {
  FATHOM_ASSIGN(const nlohmann::json json, read_json_file(path));
  return depths_of(json, path, {least, most});
}

Result<std::vector<uint8_t>> parse_depths(std::string_view text, const std::string& name, int least,
                                          int most) {
  Result<nlohmann::json> json = parse_json(text);
  if (!json.ok()) return invalid(name + ": " + json.error().message);
  return depths_of(*json, name, {least, most});
}

}  // namespace fathom::cli
