// What a flag's value must be. The checks of the flag library let NaN through and clamp integers that are
// too large without a word; these do not.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>

namespace fathom::cli {

// An integer of `least` to `most`.
CLI::Validator whole_number(int64_t least, int64_t most = std::numeric_limits<int64_t>::max());

// Of what is drawn: any of 64 bits without a sign.
CLI::Validator seed_number();

// A finite number of `least` to `most`.
CLI::Validator between(double least, double most);

// A finite number of at least `least`, or above it.
CLI::Validator at_least(double least);
CLI::Validator above(double least);

// Of --threads; 0 is all cores.
CLI::Validator thread_count();

// A text of at least one byte.
CLI::Validator not_empty();

}  // namespace fathom::cli
