// Text as part of HTML or SVG.
#pragma once

#include <string>

namespace fathom::cli {

// Characters that mean something to markup as text; control characters, which it does not allow, as U+FFFD.
std::string escaped(const std::string& text);

}  // namespace fathom::cli
