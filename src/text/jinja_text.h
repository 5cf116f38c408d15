// What a Jinja template holds in the way of text, read without running it: enough to tell which format of
// messages it writes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom::text {

struct JinjaText {
  // Text between tags as it comes out (trim_blocks, lstrip_blocks and dashes obeyed) and the string literals
  // inside tags, unescaped, in the order of the template. None is empty; comments are left out.
  std::vector<std::string> pieces;
  // The first thing written is the variable bos_token.
  bool begins_with_bos = false;
  // That variable is named in another place.
  bool names_bos_elsewhere = false;
};

// Any text is read; tags and strings that do not end go to the end of the template.
JinjaText read_jinja_text(std::string_view jinja);

}  // namespace fathom::text
