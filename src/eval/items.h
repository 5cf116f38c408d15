// Items of a task, read from its files and checked: texts to score, and which is right.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "eval/task.h"

namespace fathom::eval {

struct Item {
  std::string group = {};                  // of tasks with groups: the task's name with it, "mmlu_astronomy"
  int64_t index = 0;                       // in its file, or in its group, from 0
  int64_t measurement = 0;                 // of groups that are measured more than once, from 0
  std::vector<std::string> contexts = {};  // one, or one per choice; description and examples included
  // One per choice, or one; the space before it is not in it. Where answers are written: the right one.
  std::vector<std::string> continuations = {};
  int32_t gold = -1;  // -1: no choices, one context and one continuation

  size_t requests() const { return std::max(contexts.size(), continuations.size()); }
  const std::string& context(size_t i) const { return contexts[contexts.size() == 1 ? 0 : i]; }
  const std::string& continuation(size_t i) const { return continuations[continuations.size() == 1 ? 0 : i]; }
};

struct ItemSettings {
  int64_t limit = 0;                  // items of a task, or of each of its groups; 0: all
  int64_t shots = 0;                  // examples in front of each item
  std::optional<uint64_t> seed = {};  // of the order of shown choices; else the task's own
};

struct TaskItems {
  const Task* task = nullptr;
  std::string file = {};
  std::string_view form = {};  // RowForm::name
  int64_t shots = 0;
  int64_t rows = 0;              // of the file
  std::vector<Item> items = {};  // groups in order of their first row, items of a group together
};

// One item of a row, without examples. `place`: of the right one among the shown choices, from 0. Errors name
// the field.
Result<Item> make_item(const Task& task, const RowForm& form, const nlohmann::json& row, size_t place = 0);

// The rows of one file in JSON Lines: all of the form that the first one has. `visit` gets each; its errors
// and those of the reader carry the line ("line 3: ..."). At most kMostRowBytes a line.
inline constexpr uint64_t kMostRowBytes = uint64_t{16} << 20;
Result<std::string_view> for_each_row(
    const Task& task, std::string_view content,
    const std::function<Status(const RowForm& form, const nlohmann::json& row)>& visit);

// Reads `folder`/<task folder>/<file>. Places of right choices that are shown are drawn row by row, each a
// random.randint of the seed (data/python_random.h). Memory: the texts of the items that are kept. Errors: no
// file, an empty one, a row that does not fit, too few examples, examples for a task without.
Result<TaskItems> read_items(const Task& task, const std::string& folder, const ItemSettings& settings);

}  // namespace fathom::eval
