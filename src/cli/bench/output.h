// Rows as text.
#pragma once

#include <string>
#include <vector>

#include "cli/bench/row.h"

namespace fathom::cli::bench {

enum class Format : uint8_t {
  kMarkdown,  // a table for people, the machine below it, and a table of ops where there is a profile
  kCsv,       // a line of names and a line a row, strings in quotes; arrays are left out
  kJson,      // one array of objects
  kJsonLines  // an object a line
};

// All of it, with a newline at the end; nothing for no rows but the brackets or names of the format.
std::string to_text(const std::vector<Json>& rows, Format format);

}  // namespace fathom::cli::bench
