// JSON Lines: one object a line. Documents have their text in one of its fields.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace fathom {

// Whether a file is taken as JSON Lines: its name ends in .jsonl.
bool is_json_lines(const std::string& path);

// Calls `visit` with the text of each line in order; it lives for the call. Blank lines are passed over; an
// empty text is a document without words. Memory: one line. Stops at the first error: a line that is no JSON
// object or no UTF-8, or whose `field` is missing or no string ("x.jsonl, line 3: ...").
Status for_each_json_line(const std::string& path, const std::string& field,
                          const std::function<Status(std::string_view)>& visit);

// Calls `visit` with each line's object in order; blank lines are passed over. `content` is that of a file,
// and `limits` hold for a line. Stops at the first error, its own and those of `visit` alike: "line 3: ...".
Status for_each_json_object(std::string_view content, const JsonLimits& limits,
                            const std::function<Status(const nlohmann::json& object)>& visit);

}  // namespace fathom
