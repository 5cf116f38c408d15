#include "cli/verify/evaluation_tables.h"

#include <charconv>

#include "base/sentence.h"
#include "cli/verify/case_kinds.h"
#include "eval/phonebook.h"
#include "eval/text_rules.h"

namespace fathom::cli::verify {

namespace {

using nlohmann::json;
using Numbers = std::vector<int64_t>;

// The whole numbers of a sentence, in order.
Numbers numbers_in(std::string_view sentence) {
  Numbers numbers;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (size_t at = 0; at < sentence.size();) {
    if (!is_digit(sentence[at])) {
      ++at;
      continue;
    }
    int64_t number = -1;
    std::from_chars(sentence.data() + at, sentence.data() + sentence.size(), number);
    numbers.push_back(number);
    while (at < sentence.size() && is_digit(sentence[at])) ++at;
  }
  return numbers;
}

// A rule that the table tells in a sentence: where there is one, it has these numbers.
void compare_rule(const json& rules, const char* key, const Numbers& expected, Tally& tally) {
  if (rules.contains(key)) tally.expect(numbers_in(rules.at(key).get<std::string>()), expected);
}

Result<uint64_t> seed_of(const json& example) {
  const json& seed = example.at("seed");
  if (seed.is_number_unsigned()) return seed.get<uint64_t>();
  // Python seeds with the absolute value.
  if (seed.is_number_integer()) return uint64_t{0} - static_cast<uint64_t>(seed.get<int64_t>());
  return invalid("the seed of an example is " + in_quotes(seed.dump(), 40) +
                 ", expected a whole number of at most 64 bits");
}

Status compare_examples(const json& examples, Report& report) {
  Tally prompts, labels;
  for (const json& example : examples) {
    FATHOM_ASSIGN(const uint64_t seed, seed_of(example));
    FATHOM_ASSIGN(const eval::PhonebookMode mode,
                  eval::phonebook_mode_named(example.at("mode").get<std::string>()));
    const auto entries = example.at("entries").get<int64_t>();
    if (entries < eval::kFewestEntries || entries > eval::kMostEntries) {
      return invalid("an example has " + std::to_string(entries) + " entries, expected " +
                     std::to_string(eval::kFewestEntries) + " to " + std::to_string(eval::kMostEntries));
    }
    PythonRandom random(seed);
    const eval::PhonebookItem item = eval::draw_phonebook_item(entries, mode, random);
    prompts.expect(item.prompt, example.at("prompt").get<std::string>());
    labels.expect(item.label, example.at("label").get<std::string>());
  }
  prompts.report(report, "eval", "phonebook.json: prompts, byte by byte");
  labels.report(report, "eval", "phonebook.json: labels");
  return {};
}

// Defaults of the command line; a setting that nothing here knows is refused by its name.
Status compare_defaults(const json& recorded, Tally& tally) {
  const eval::PhonebookSettings ours;
  FATHOM_ASSIGN(const eval::Task* task, eval::find_task("phonebook"));
  const json known = {{"min_eval_len", ours.min_entries},
                      {"max_eval_len", ours.max_entries},
                      {"eval_num_batches", ours.batches},
                      {"eval_batch_size", ours.batch_size},
                      {"num_eval", ours.lengths},
                      {"seed", ours.seed},
                      {"dtype", task->writing->dtype == DType::kBF16 ? "bfloat16" : "float32"},
                      {"verbose", ours.mode == eval::PhonebookMode::kVerbose}};
  for (const auto& [name, value] : recorded.items()) {
    if (!known.contains(name)) return invalid("command_line_defaults: unknown setting " + in_quotes(name));
    tally.expect(known.at(name), value);
  }
  return {};
}

// "e.g. 42,0,480,0 -> 4204800"
Status compare_seed_rule(const json& rules, Tally& tally) {
  if (!rules.contains("seed_per_batch")) return {};
  const auto rule = rules.at("seed_per_batch").get<std::string>();
  const Numbers numbers = numbers_in(rule);
  if (numbers.size() != 5) {
    return invalid("seed_per_batch has " + std::to_string(numbers.size()) + " numbers in " +
                   in_quotes(rule, 100) + ", expected four and the seed made of them");
  }
  FATHOM_ASSIGN(const uint64_t seed,
                eval::phonebook_seed(static_cast<uint64_t>(numbers[0]), numbers[1], numbers[2], numbers[3]));
  tally.expect(seed, static_cast<uint64_t>(numbers[4]));
  return {};
}

Status compare_settings(const json& table, Report& report) {
  const eval::PhonebookSettings ours;
  FATHOM_ASSIGN(const eval::Task* task, eval::find_task("phonebook"));
  constexpr int64_t kTimes = eval::kPhonebookMeasurements;
  Tally defaults, rules;
  if (table.contains("evaluation")) {
    const json& evaluation = table.at("evaluation");
    if (evaluation.contains("command_line_defaults"))
      FATHOM_TRY(compare_defaults(evaluation.at("command_line_defaults"), defaults));
    FATHOM_TRY(compare_seed_rule(evaluation, rules));
    const int64_t batches = ours.batches / kTimes;
    compare_rule(evaluation, "repeats",
                 {kTimes, kTimes, ours.batches, batches, ours.batch_size, batches * ours.batch_size}, rules);
    compare_rule(evaluation, "decoding", {task->writing->max_tokens}, rules);
    compare_rule(evaluation, "reported", {kTimes}, rules);
    if (evaluation.contains("lengths")) {
      rules.expect(evaluation.at("lengths").get<std::string>(),
                   std::string("arange(min, max+1, ceil((max+1-min)/num_eval))"));
    }
  }
  if (table.contains("structure"))
    compare_rule(table.at("structure"), "interleaved_mode", {eval::kPhonebookBlock}, rules);
  if (defaults.compared() > 0)
    defaults.report(report, "eval", "phonebook.json: defaults of the command line");
  if (rules.compared() > 0) rules.report(report, "eval", "phonebook.json: rules");
  return {};
}

// The published name of a set of questions may say its part: "gpqa (main)".
std::string name_of_task(const json& row) {
  const auto name = row.at("name").get<std::string>();
  return name.substr(0, name.find(' '));
}

// A prompt of the table with its fields filled.
std::string filled(std::string text, const std::vector<std::pair<std::string, std::string>>& fields) {
  for (const auto& [name, value] : fields) text = eval::replaced(text, "{" + name + "}", value);
  return text;
}

Status compare_problem_prompt(const std::string& recorded, Tally& prompts) {
  const std::string problem = "What is {1} of \\boxed{2}?\nSay it.";
  for (const char* name : {"aime24", "aime25", "math_500"}) {
    FATHOM_ASSIGN(const eval::Task* task, eval::find_task(name));
    FATHOM_ASSIGN(const eval::Item item,
                  eval::make_item(*task, task->forms.front(), {{"problem", problem}, {"answer", "3"}}));
    prompts.expect(item.context(0), filled(recorded, {{"Question", problem}}));
  }
  return {};
}

Status compare_choice_prompt(const std::string& recorded, Tally& prompts, Tally& choices) {
  for (const char* name : {"gpqa", "gpqa_diamond"}) {
    FATHOM_ASSIGN(const eval::Task* task, eval::find_task(name));
    const eval::RowForm& form = task->forms.front();
    for (size_t place = 0; place < form.shown_choices.size(); ++place) {
      std::vector<std::string> shown = {"wrong 1", "wrong 2", "wrong 3"};
      shown.insert(shown.begin() + static_cast<int64_t>(place), "right");
      FATHOM_ASSIGN(const eval::Item item, eval::make_item(*task, form,
                                                           {{"Question", "Which one?"},
                                                            {"Correct Answer", "right"},
                                                            {"Incorrect Answer 1", "wrong 1"},
                                                            {"Incorrect Answer 2", "wrong 2"},
                                                            {"Incorrect Answer 3", "wrong 3"}},
                                                           place));
      prompts.expect(item.context(0), filled(recorded, {{"Question", "Which one?"},
                                                        {"A", shown[0]},
                                                        {"B", shown[1]},
                                                        {"C", shown[2]},
                                                        {"D", shown[3]}}));
      choices.expect(item.continuation(0), std::string(1, static_cast<char>('A' + place)));
    }
  }
  return {};
}

Status compare_task(const json& row, const json& table, Tally& settings) {
  FATHOM_ASSIGN(const eval::Task* task, eval::find_task(name_of_task(row)));
  if (!task->writing || !task->writing->chat)
    return invalid("task " + in_quotes(task->name) + " is no reasoning task");
  const eval::Writing& writing = *task->writing;
  settings.expect(std::string(task->files.front()), row.at("split").get<std::string>() + ".jsonl");
  settings.expect(writing.samples, row.at("samples_for_pass_at_1").get<int64_t>());
  settings.expect(writing.max_tokens, row.at("max_new_tokens").get<int64_t>());
  if (table.contains("sampling")) {
    const json& sampling = table.at("sampling");
    settings.expect(writing.sampling.temperature, sampling.at("temperature").get<float>());
    settings.expect(writing.sampling.top_p, sampling.at("top_p").get<float>());
    settings.expect(writing.max_tokens, sampling.at("max_new_tokens").get<int64_t>());
  }
  if (table.contains("engine")) {
    const json& engine = table.at("engine");
    settings.expect(writing.sampling.seed, engine.at("seed").get<uint64_t>());
    settings.expect(std::string(writing.dtype == DType::kBF16 ? "bfloat16" : "float32"),
                    engine.at("dtype").get<std::string>());
    settings.expect(writing.context, engine.at("max_model_length").get<int64_t>());
  }
  if (table.contains("few_shot"))
    settings.expect(eval::ItemSettings().shots, table.at("few_shot").get<int64_t>());
  return {};
}

}  // namespace

Status compare_phonebook(const json& table, Report& report) {
  FATHOM_TRY(compare_examples(table.at("examples"), report));
  return compare_settings(table, report);
}

Status compare_reasoning(const json& table, Report& report) {
  Tally prompts, choices, settings;
  FATHOM_TRY(compare_problem_prompt(table.at("math_prompt"), prompts));
  FATHOM_TRY(compare_choice_prompt(table.at("gpqa_prompt"), prompts, choices));
  FATHOM_ASSIGN(const eval::Task* gpqa, eval::find_task("gpqa"));
  compare_rule(table, "choice_order", {static_cast<int64_t>(gpqa->forms.front().shown_choices.size())},
               choices);
  for (const json& row : table.at("tasks")) FATHOM_TRY(compare_task(row, table, settings));
  prompts.report(report, "eval", "reasoning_eval.json: prompts, byte by byte");
  choices.report(report, "eval", "reasoning_eval.json: places of the right choice");
  settings.report(report, "eval", "reasoning_eval.json: tasks, sampling, engine");
  return {};
}

}  // namespace fathom::cli::verify
