// Numbers as people read them.
#pragma once

#include <string>

namespace fathom::cli {

std::string rounded(double value, int digits);  // "3.14"
std::string short_count(double count);          // "873", "12.3 k", "1.26 M", "3.85 G"
std::string duration(double seconds);           // "0:05", "12:30", "1:02:03"

}  // namespace fathom::cli
