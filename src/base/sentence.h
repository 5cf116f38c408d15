// How sentences show what came from outside: on one line and bounded, whatever it holds.
#pragma once

#include <string>
#include <string_view>

namespace fathom {

// Control characters become '?'; what is longer than 4000 bytes ends in "...", cut between two characters.
std::string one_line(std::string text);

// A name in quotes, of its end no more than "..." when it is longer than `limit` bytes.
std::string in_quotes(std::string_view text, size_t limit = 200);

}  // namespace fathom
