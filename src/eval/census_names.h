// Names of people as they were in the census of the United States of 1990 (data/names), drawn as version
// 0.3.0 of the Python package `names` draws them: to the letter from the same generator.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/python_random.h"

namespace fathom::eval {

// A name and its share of the people, in thousandths of a percent. A list holds the most frequent names until
// they are 90 % of the people; made from the files of data/names by the build.
struct NameShare {
  const char* name;
  int32_t share;
};
std::span<const NameShare> male_first_names();
std::span<const NameShare> female_first_names();
std::span<const NameShare> last_names();

// "Mary Smith": the list of first names (one draw of two), then first and last name (one uniform draw each).
std::string draw_full_name(PythonRandom& random);

}  // namespace fathom::eval
