// The words of the enumerations of a ModelSpec, as they stand in TOML and JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "plan/model_spec.h"

namespace fathom {

std::string_view word_of(Sharing value);
std::string_view word_of(Initialization value);
std::string_view word_of(RouterKind value);
std::string_view word_of(ScoreFunction value);
std::string_view word_of(Gating value);
std::string_view word_of(RouterNetwork value);
std::string_view word_of(RouterLoss value);
std::string_view word_of(KvMode value);
std::string_view word_of(RelaxationMethod value);
std::string_view word_of(SvdInit value);
std::string_view word_of(Projection value);
std::string_view word_of(Parametrisation value);

// Sets `value` if the word is one of the enumeration's; otherwise returns the words that are:
// "\"cycle\", \"sequence\"".
template <class Enum>
std::optional<std::string> parse_word(std::string_view word, Enum& value);

}  // namespace fathom
