#include <algorithm>

#include "base/check.h"
#include "base/sentence.h"
#include "eval/task.h"

namespace fathom::eval {

namespace {

constexpr std::string_view kQuestion = "Question: {question}\nAnswer:";

const GoldRule kGold = {.kind = GoldKind::kIndex, .field = "gold"};
const std::vector<Metric> kChoiceMetrics = {Metric::kAcc, Metric::kAccNorm, Metric::kAccBytes};

RowForm prepared_choices(std::string_view context) {
  return {.name = "prepared",
          .key = "query",
          .contexts = {.templates = {context}},
          .continuations = {.list = "choices"},
          .gold = kGold};
}

// AI2's files: texts and their labels side by side, the answer a label.
RowForm labelled_choices(std::string_view key, std::string_view context) {
  return {.name = "published",
          .key = key,
          .contexts = {.templates = {context}},
          .continuations = {.list = "choices.text"},
          .gold = {.kind = GoldKind::kLabel, .field = "answerKey", .labels = "choices.label"}};
}

Task arc(std::string_view name) {
  return {.name = name,
          .folder = name,
          .files = {"test.jsonl"},
          .forms = {labelled_choices("question", kQuestion), prepared_choices("{query}\nAnswer:")},
          .metrics = kChoiceMetrics};
}

Task mmlu(std::string_view name, std::string_view what, std::string_view context, RowTexts choices,
          std::vector<Metric> metrics) {
  return {.name = name,
          .folder = "mmlu",
          .files = {"test.jsonl"},
          .forms = {{.name = "published",
                     .key = "question",
                     .contexts = {.templates = {context}},
                     .continuations = std::move(choices),
                     .gold = {.kind = GoldKind::kLetter, .field = "answer"}}},
          .metrics = std::move(metrics),
          .description = what,
          .group = "subject",
          .example_files = {"dev.jsonl"}};
}

constexpr std::string_view kProblemPrompt =
    "Please reason step by step, and put your final answer within \\boxed{}. {problem}";
constexpr std::string_view kQuestionPrompt =
    "Please reason step by step, and put your final answer within \\boxed{}. {question}";

Task reasoning(std::string_view name, std::vector<std::string_view> files, std::vector<RowForm> forms,
               AnswerRule rule, int64_t samples) {
  constexpr int64_t kContext = 32768;
  return {.name = name,
          .folder = name,
          .files = std::move(files),
          .forms = std::move(forms),
          .metrics = {Metric::kPassAtOne},
          .writing = Writing{.rule = rule,
                             .chat = true,
                             .samples = samples,
                             .max_tokens = kContext,
                             .context = kContext,
                             .sampling = {.temperature = 0.6F, .top_p = 0.95F, .seed = 1}}};
}

RowForm problem_rows(std::string_view name, std::string_view key, std::string_view prompt,
                     std::string_view answer) {
  return {.name = name,
          .key = key,
          .contexts = {.templates = {prompt}},
          .continuations = {.templates = {answer}}};
}

const RowForm kProblems = problem_rows("published", "problem", kProblemPrompt, "{answer|digits}");

Task aime(std::string_view name) {
  return reasoning(name, {"train.jsonl", "test.jsonl"}, {kProblems}, AnswerRule::kMath, 64);
}

Task math_500() {
  // Prepared rows have the whole solution for an answer.
  Task task = reasoning("math_500", {"test.jsonl"},
                        {kProblems, problem_rows("prepared", "question", kQuestionPrompt, "{answer|boxed}")},
                        AnswerRule::kMath, 8);
  task.folder = "math500";
  return task;
}

Task gpqa(std::string_view name) {
  RowForm rows =
      problem_rows("published", "Question",
                   "Please reason step by step, and put your final choice of one letter from A/B/C/D within "
                   "\\boxed{}. {Question}\n\nA) {A}\nB) {B}\nC) {C}\nD) {D}",
                   "{letter}");
  rows.shown_choices = {"{Correct Answer}", "{Incorrect Answer 1}", "{Incorrect Answer 2}",
                        "{Incorrect Answer 3}"};
  return reasoning(name, {"train.jsonl"}, {rows}, AnswerRule::kLetter, 8);
}

std::vector<Task> make_tasks() {
  return {
      {.name = "lambada_openai",
       .folder = "lambada",
       .files = {"test.jsonl"},
       .forms = {{.name = "published",
                  .key = "text",
                  .contexts = {.templates = {"{text|before_last_word}"}},
                  .continuations = {.templates = {"{text|last_word}"}}},
                 {.name = "prepared",
                  .key = "context",
                  .contexts = {.templates = {"{context}"}},
                  .continuations = {.templates = {"{continuation}"}}}},
       .metrics = {Metric::kPerplexity, Metric::kAcc}},
      {.name = "hellaswag",
       .folder = "hellaswag",
       .files = {"validation.jsonl", "val.jsonl"},
       .forms = {{.name = "published",
                  .key = "activity_label",
                  .contexts = {.templates = {"{activity_label}: {ctx_a} {ctx_b|capitalize}"}},
                  .continuations = {.list = "endings"},
                  .gold = {.kind = GoldKind::kIndex, .field = "label"},
                  .without_brackets = true},
                 {.name = "prepared",
                  .key = "ctx",
                  .contexts = {.templates = {"{ctx}"}},
                  .continuations = {.list = "endings"},
                  .gold = {.kind = GoldKind::kIndex, .field = "label"},
                  .without_brackets = true}},
       .metrics = kChoiceMetrics},
      {.name = "piqa",
       .folder = "piqa",
       .files = {"validation.jsonl", "val.jsonl"},
       .forms = {{.name = "published",
                  .key = "goal",
                  .contexts = {.templates = {"Question: {goal}\nAnswer:"}},
                  .continuations = {.templates = {"{sol1}", "{sol2}"}},
                  .gold = {.kind = GoldKind::kIndex, .field = "label"}},
                 prepared_choices("{query}Answer:")},
       .metrics = kChoiceMetrics},
      {.name = "winogrande",
       .folder = "winogrande",
       .files = {"validation.jsonl", "val.jsonl"},
       .forms = {{.name = "published",
                  .key = "sentence",
                  .contexts = {.templates = {"{sentence|before_blank}{option1}",
                                             "{sentence|before_blank}{option2}"}},
                  .continuations = {.templates = {"{sentence|after_blank}"}},
                  .gold = {.kind = GoldKind::kFromOne, .field = "answer"}},
                 {.name = "prepared",
                  .key = "context_options",
                  .contexts = {.list = "context_options"},
                  .continuations = {.templates = {"{continuation}"}},
                  .gold = kGold}},
       .metrics = {Metric::kAcc}},
      arc("arc_easy"),
      arc("arc_challenge"),
      {.name = "openbookqa",
       .folder = "openbookqa",
       .files = {"test.jsonl"},
       .forms = {labelled_choices("question_stem", "{question_stem}"), prepared_choices("{query}")},
       .metrics = kChoiceMetrics},
      mmlu("mmlu", "The following are multiple choice questions (with answers) about {subject|spaces}.\n\n",
           "{question|strip}\nA. {choices.0}\nB. {choices.1}\nC. {choices.2}\nD. {choices.3}\nAnswer:",
           {.templates = {"A", "B", "C", "D"}}, {Metric::kAcc}),
      mmlu("mmlu_continuation", "The following are questions (with answers) about {subject|spaces}.\n\n",
           "Question: {question|strip}\nAnswer:", {.list = "choices"}, kChoiceMetrics),
      {.name = "phonebook",
       .metrics = {Metric::kExactMatch},
       .group = "entries",
       .writing =
           Writing{
               .rule = AnswerRule::kFirstLine, .max_tokens = 20, .sampling = {.temperature = 0, .seed = 42}}},
      aime("aime24"),
      aime("aime25"),
      math_500(),
      gpqa("gpqa"),
      gpqa("gpqa_diamond"),
  };
}

}  // namespace

std::string_view name_of(Metric metric) {
  switch (metric) {
    case Metric::kAcc:
      return "acc";
    case Metric::kAccNorm:
      return "acc_norm";
    case Metric::kAccBytes:
      return "acc_bytes";
    case Metric::kPerplexity:
      return "perplexity";
    case Metric::kExactMatch:
      return "exact_match";
    case Metric::kPassAtOne:
      return "pass@1";
  }
  FATHOM_CHECK(false, "no metric");
  return "";
}

bool higher_is_better(Metric metric) { return metric != Metric::kPerplexity; }

const std::vector<Task>& all_tasks() {
  static const std::vector<Task> tasks = make_tasks();
  return tasks;
}

Result<const Task*> find_task(std::string_view name) {
  const auto found = std::ranges::find(all_tasks(), name, &Task::name);
  if (found != all_tasks().end()) return &*found;
  std::string names;
  for (const Task& task : all_tasks()) names += (names.empty() ? "" : ", ") + std::string(task.name);
  return invalid("unknown task " + in_quotes(name) + ", expected one of " + names);
}

}  // namespace fathom::eval
