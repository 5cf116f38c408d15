// The few properties of characters that tokenizers ask for.
#pragma once

#include <string_view>

namespace fathom::text {

bool is_white_space(char32_t character);  // property White_Space
// Alphabetic, Mark, Decimal_Number, Connector_Punctuation or Join_Control (Unicode TS 18, annex C).
bool is_word_character(char32_t character);

// Lengths in bytes of the white space that `text` (valid UTF-8) starts and ends with.
size_t leading_white_space(std::string_view text);
size_t trailing_white_space(std::string_view text);

// First and last character of a text that is valid UTF-8 and not empty.
char32_t first_character(std::string_view text);
char32_t last_character(std::string_view text);

}  // namespace fathom::text
