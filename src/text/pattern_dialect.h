// Patterns of tokenizer.json are written for Oniguruma (Ruby syntax); Fathom runs them with PCRE2. This
// translates what the two read differently, and refuses what PCRE2 would silently take to mean something
// else.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace fathom::text {

// Bodies of character classes with the meaning that Oniguruma and Rust give them: White_Space, and Word =
// Alphabetic + Mark + Decimal_Number + Connector_Punctuation + Join_Control (Unicode TS 18, annex C).
inline constexpr std::string_view kWhiteSpaceClass = R"(\t-\r\x{85}\p{Z})";
inline constexpr std::string_view kWordClass =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";

// \s \w \d \h \S \W \D \H and \uHHHH become PCRE2 with Unicode meaning. Refused, with a sentence
// (kNotSupported): classes inside classes, intersections (&&), complements inside a class, (?m), and {n,m}+,
// which Oniguruma does not read as possessive.
//
// Which characters have which property is PCRE2's knowledge: characters newer than its version of Unicode
// count as unassigned, so neither letters nor digits.
Result<std::string> to_pcre2_pattern(std::string_view pattern);

}  // namespace fathom::text
