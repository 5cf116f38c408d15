// What a written answer says, and whether that is the reference. The comparison of mathematical answers is
// the one of the MATH data set's authors (Hendrycks et al. 2021, arXiv 2103.03874): both are brought to one
// way of writing and compared as text; numbers that are equal are equal besides.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "eval/task.h"

namespace fathom::eval {

// What the last \boxed{...} (or, without one, \fbox{...}) holds, up to the brace that closes it; of "\boxed "
// without braces the rest up to a dollar sign. Nothing without one, or if its brace is never closed.
std::optional<std::string> last_boxed(std::string_view text);

// One way of writing: no spaces and line feeds, \frac for \tfrac, \dfrac and a/b, {} around arguments, no
// \left, \right, degrees, dollars, percents and units in \text{ }, the right side of "x = ...".
std::string plain_math(std::string_view answer);

// plain_math() of both is the same, or both are the same number (whole, decimal, \frac of whole ones).
bool same_math(std::string_view a, std::string_view b);

// The letter from A to Z that stands alone or at the beginning of "B) ...", "(B)", "\text{B}".
std::optional<char> letter_of(std::string_view answer);

bool is_right(AnswerRule rule, std::string_view written, std::string_view reference);

}  // namespace fathom::eval
