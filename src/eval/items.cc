#include "eval/items.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "base/sentence.h"
#include "data/json_lines.h"
#include "data/python_random.h"
#include "eval/row_template.h"
#include "eval/text_rules.h"

namespace fathom::eval {

namespace {

Result<std::vector<std::string>> texts_of(const RowTexts& texts, bool clean, const nlohmann::json& row) {
  std::vector<std::string> found;
  if (!texts.list.empty()) {
    FATHOM_ASSIGN(found, strings_at(row, texts.list));
  }
  for (std::string_view text_template : texts.templates) {
    FATHOM_ASSIGN(std::string text, fill(text_template, row));
    found.push_back(std::move(text));
  }
  if (clean) std::ranges::transform(found, found.begin(), without_brackets);
  return found;
}

// A whole number in digits, or nothing.
std::optional<int64_t> number_in(std::string_view digits) {
  int64_t number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) return std::nullopt;
  return number;
}

Result<int64_t> place_of_label(const GoldRule& rule, const nlohmann::json& row) {
  FATHOM_ASSIGN(const std::string label, string_at(row, rule.field));
  FATHOM_ASSIGN(const std::vector<std::string> labels, strings_at(row, rule.labels));
  const auto found = std::ranges::find(labels, stripped(label));
  if (found == labels.end()) {
    return invalid('"' + std::string(rule.field) + "\" is " + in_quotes(label) + ", which is not in \"" +
                   std::string(rule.labels) + '"');
  }
  return found - labels.begin();
}

Result<int32_t> gold_of(const GoldRule& rule, const nlohmann::json& row, size_t choices) {
  int64_t gold = -1;
  if (rule.kind == GoldKind::kLabel) {
    FATHOM_ASSIGN(gold, place_of_label(rule, row));
  } else {
    FATHOM_ASSIGN(const nlohmann::json* value, value_at(row, rule.field));
    const std::string text = value->is_string() ? value->get<std::string>() : value->dump();
    const bool letter =
        rule.kind == GoldKind::kLetter && text.size() == 1 && text[0] >= 'A' && text[0] <= 'Z';
    if (letter) {
      gold = text[0] - 'A';
    } else {
      gold = number_in(text).value_or(-1) - (rule.kind == GoldKind::kFromOne ? 1 : 0);
    }
  }
  if (gold < 0 || gold >= static_cast<int64_t>(choices)) {
    FATHOM_ASSIGN(const nlohmann::json* value, value_at(row, rule.field));
    return invalid('"' + std::string(rule.field) + "\" is " + in_quotes(value->dump(), 40) +
                   ", which is none of " + std::to_string(choices) + " choices");
  }
  return static_cast<int32_t>(gold);
}

// The row with its shown choices under their letters, the right one at `place`.
Result<nlohmann::json> with_shown_choices(const RowForm& form, const nlohmann::json& row, size_t place) {
  std::vector<std::string> choices;
  for (std::string_view choice : form.shown_choices) {
    FATHOM_ASSIGN(std::string text, fill(choice, row));
    choices.push_back(std::move(text));
  }
  std::rotate(choices.begin(), choices.begin() + 1, choices.begin() + static_cast<int64_t>(place) + 1);
  const auto letter = [](size_t i) { return std::string(1, static_cast<char>('A' + i)); };
  nlohmann::json shown = row;
  for (size_t i = 0; i < choices.size(); ++i) shown[letter(i)] = std::move(choices[i]);
  shown["letter"] = letter(place);
  return shown;
}

Result<Item> item_of(const Task& task, const RowForm& form, const nlohmann::json& row) {
  Item item;
  FATHOM_ASSIGN(item.contexts, texts_of(form.contexts, form.without_brackets, row));
  FATHOM_ASSIGN(item.continuations, texts_of(form.continuations, form.without_brackets, row));
  if (!task.group.empty()) {
    FATHOM_ASSIGN(const std::string group, string_at(row, task.group));
    if (group.empty() || group.size() > 100) {
      return invalid('"' + std::string(task.group) + "\" has " + std::to_string(group.size()) +
                     " bytes, expected 1 to 100");
    }
    item.group = std::string(task.name) + "_" + group;
  }
  if (form.gold.kind != GoldKind::kNone) {
    if (item.requests() < 2) return invalid("only one choice, expected at least 2");
    FATHOM_ASSIGN(item.gold, gold_of(form.gold, row, item.requests()));
  }
  return item;
}

Result<std::string> first_of(const std::string& folder, const std::vector<std::string_view>& names) {
  for (std::string_view name : names) {
    const std::string path = folder + "/" + std::string(name);
    if (std::filesystem::exists(path)) return path;
  }
  std::string wanted;
  for (std::string_view name : names) wanted += (wanted.empty() ? "" : " or ") + std::string(name);
  return not_found(folder + ": holds no " + wanted);
}

// What stands in front of the items of a group.
struct Preamble {
  std::string text;
  int64_t examples = 0;
};

Status add_example(const Task& task, const RowForm& form, const nlohmann::json& row, int64_t shots,
                   std::map<std::string, Preamble>& preambles) {
  FATHOM_ASSIGN(const Item item, make_item(task, form, row));
  Preamble& preamble = preambles[item.group];
  if (preamble.examples == shots) return {};
  ++preamble.examples;
  preamble.text += item.context(0) + " " + item.continuation(static_cast<size_t>(item.gold)) + "\n\n";
  return {};
}

// The few-shot examples of every group: the first rows of the file of examples.
Result<std::map<std::string, Preamble>> read_examples(const Task& task, const std::string& folder,
                                                      int64_t shots) {
  std::map<std::string, Preamble> preambles;
  if (shots == 0) return preambles;
  if (task.example_files.empty())
    return wrong_usage("--num-fewshot: " + std::string(task.name) + " has no rows for examples");
  FATHOM_ASSIGN(const std::string path, first_of(folder, task.example_files));
  FATHOM_ASSIGN(const MappedFile file, MappedFile::open(path));
  const Result<std::string_view> form =
      for_each_row(task, {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()},
                   [&](const RowForm& row_form, const nlohmann::json& row) {
                     return add_example(task, row_form, row, shots, preambles);
                   });
  if (!form.ok()) return at(path, form.error());
  return preambles;
}

}  // namespace

Result<Item> make_item(const Task& task, const RowForm& form, const nlohmann::json& row, size_t place) {
  if (!form.shown_choices.empty()) {
    FATHOM_ASSIGN(const nlohmann::json shown, with_shown_choices(form, row, place));
    return item_of(task, form, shown);
  }
  return item_of(task, form, row);
}

Result<std::string_view> for_each_row(
    const Task& task, std::string_view content,
    const std::function<Status(const RowForm& form, const nlohmann::json& row)>& visit) {
  const RowForm* form = nullptr;
  FATHOM_TRY(for_each_json_object(content, {.max_bytes = kMostRowBytes}, [&](const nlohmann::json& row) {
    if (form == nullptr) {
      const auto found = std::ranges::find_if(
          task.forms, [&](const RowForm& candidate) { return row.contains(candidate.key); });
      if (found == task.forms.end()) {
        std::string keys;
        for (const RowForm& candidate : task.forms)
          keys += (keys.empty() ? "\"" : " or \"") + std::string(candidate.key) + '"';
        return Status(invalid("no field " + keys + ", as a row of " + std::string(task.name) + " has"));
      }
      form = &*found;
    }
    return visit(*form, row);
  }));
  if (form == nullptr) return invalid("holds no row");
  return form->name;
}

Result<TaskItems> read_items(const Task& task, const std::string& folder, const ItemSettings& settings) {
  const std::string place = folder + "/" + std::string(task.folder);
  TaskItems read{.task = &task, .shots = settings.shots};
  FATHOM_ASSIGN(const auto preambles, read_examples(task, place, settings.shots));
  FATHOM_ASSIGN(read.file, first_of(place, task.files));
  FATHOM_ASSIGN(const MappedFile file, MappedFile::open(read.file));

  std::vector<std::vector<Item>> groups;
  std::map<std::string, size_t> group_of;
  PythonRandom places(settings.seed.value_or(task.writing ? task.writing->sampling.seed : 0));
  const auto add = [&](const RowForm& form, const nlohmann::json& row) -> Status {
    const auto choices = static_cast<int64_t>(form.shown_choices.size());
    const int64_t right_place = choices > 0 ? places.between(0, choices - 1) : 0;
    FATHOM_ASSIGN(Item item, make_item(task, form, row, static_cast<size_t>(right_place)));
    ++read.rows;
    const auto [group, is_new] = group_of.try_emplace(item.group, groups.size());
    if (is_new) groups.emplace_back();
    std::vector<Item>& items = groups[group->second];
    item.index = static_cast<int64_t>(items.size());
    if (settings.limit > 0 && item.index >= settings.limit) return {};
    FATHOM_ASSIGN(std::string before, fill(task.description, row));
    if (settings.shots > 0) {
      const auto examples = preambles.find(item.group);
      const int64_t there = examples == preambles.end() ? 0 : examples->second.examples;
      if (there < settings.shots) {
        return invalid(std::to_string(settings.shots) + " examples wanted for " + item.group + ", " +
                       std::to_string(there) + " are there");
      }
      before += examples->second.text;
    }
    for (std::string& context : item.contexts) context.insert(0, before);
    items.push_back(std::move(item));
    return {};
  };
  const Result<std::string_view> form =
      for_each_row(task, {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, add);
  if (!form.ok()) return at(read.file, form.error());
  read.form = *form;
  for (std::vector<Item>& group : groups) std::ranges::move(group, std::back_inserter(read.items));
  return read;
}

}  // namespace fathom::eval
