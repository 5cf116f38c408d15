// Tables of corrupted files. Each row changes something in a file that is accepted, and is refused with
// exactly its sentence.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom::faults {

struct Fault {
  std::string name;  // what was done to the file
  std::string input;
  std::string sentence;
};

// What a reader says to an input; "accepted" if nothing.
template <class T>
std::string answer(const Result<T>& result) {
  return result.ok() ? "accepted" : result.error().message;
}

using Reader = std::function<std::string(const std::string& input)>;

// At least `least` rows: a table cannot shrink unseen.
inline void expect_refusals(const std::string& good, const std::vector<Fault>& faults, const Reader& reader,
                            size_t least = 30) {
  ASSERT_EQ(reader(good), "accepted");
  EXPECT_GE(faults.size(), least);
  std::set<std::string> names;
  for (const Fault& fault : faults) {
    EXPECT_TRUE(names.insert(fault.name).second) << "two rows are named " << fault.name;
    EXPECT_EQ(reader(fault.input), fault.sentence) << fault.name;
    EXPECT_EQ(fault.sentence.find('\n'), std::string::npos) << fault.name;
  }
}

// `text` with its only `from` as `to`.
inline std::string with(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  if (at == std::string::npos || text.find(from, at + 1) != std::string::npos) {
    ADD_FAILURE() << "\"" << from << "\" is not there exactly once";
    return text;
  }
  return text.replace(at, from.size(), to);
}

inline std::string repeated(std::string_view part, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += part;
  return out;
}

}  // namespace fathom::faults
