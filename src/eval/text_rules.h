// The string operations of lm-evaluation-harness's task files, with Python's meaning: the text of a request
// must be the same to the byte.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fathom::eval {

// Characters (Unicode code points; bytes that are not UTF-8 count one each).
int64_t count_characters(std::string_view text);
// Pieces of re.split(r"\s+"): runs of white space plus one, so that white space at an end adds an empty
// piece.
int64_t count_words(std::string_view text);

// str.strip(), and the bytes of white space at the end, which str.rstrip() would take.
std::string_view stripped(std::string_view text);
size_t white_space_at_end(std::string_view text);
// str.capitalize(): the first character in title case, the others in lower case, one by one.
std::string capitalized(std::string_view text);
std::string replaced(std::string_view text, std::string_view from, std::string_view to);
// Before the last space, and after it. Without a space: nothing, and all.
std::string_view before_last_space(std::string_view text);
std::string_view after_last_space(std::string_view text);

// What HellaSwag's texts go through: " [title]" becomes ". ", other brackets go with what is in them, double
// spaces become single ones (once, from the left).
std::string without_brackets(std::string_view text);

}  // namespace fathom::eval
