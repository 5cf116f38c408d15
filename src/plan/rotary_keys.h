// Keys of Hugging Face configurations about rotary positions that more than one dialect has.
#pragma once

#include <nlohmann/json.hpp>

namespace fathom {

// Whether a value of `rope_scaling` scales nothing: null, or {"rope_type": "default"}, in older files
// {"type": "default"}.
inline bool scales_nothing(const nlohmann::json& rope_scaling) {
  if (!rope_scaling.is_object()) return rope_scaling.is_null();
  const auto type = rope_scaling.find(rope_scaling.contains("rope_type") ? "rope_type" : "type");
  return type != rope_scaling.end() && *type == "default";
}

}  // namespace fathom
