// fathom eval: tasks with known answers, and how well a model predicts text.
#include <algorithm>
#include <iostream>
#include <memory>

#include "base/parallel.h"
#include "cli/commands.h"
#include "cli/evaluation.h"
#include "cli/flag_checks.h"
#include "cli/json_text.h"
#include "cli/output_folder.h"
#include "cli/run_memory.h"
#include "cli/threads_flag.h"
#include "cli/written_flags.h"
#include "eval/report.h"
#include "io/atomic_file.h"

namespace fathom::cli {

namespace {

struct Flags {
  explicit Flags(CLI::App& command) : app(command), written(command) {}
  bool given(const char* flag) const { return app.count(flag) > 0; }

  const CLI::App& app;
  std::string model, data, separator, write_items;
  NumericFlags numeric;
  std::vector<std::string> tasks;
  int64_t shots = 0;
  bool check_tensors = false;
  int threads = 0;
  EvaluationSettings settings;
  WrittenFlags written;
};

// A flag that says nothing without another one, or without either of two.
struct Dependence {
  const char *flag, *needed, *or_else = nullptr;
};
constexpr Dependence kDependences[] = {
    {"--data", "--tasks"},
    {"--num-fewshot", "--tasks"},
    {"--log-samples", "--tasks"},
    {"--write-items", "--tasks"},
    {"--sequence-length", "--perplexity"},
    {"--keep-documents-apart", "--perplexity"},
    {"--label-inside-row", "--perplexity"},
    {"--by-context", "--perplexity"},
    {"--compute-budget", "--perplexity"},
    {"--routing-agreement", "--perplexity"},
    {"--plot", "--compute-budget"},
    {"--calibration-rows", "--compute-budget"},
    {"--document-separator", "--perplexity", "--rolling"},
    {"--text-field", "--perplexity", "--rolling"},
};

// What --write-items looks at. All other flags say with which model and how items are scored.
constexpr const char* kOfItems[] = {"--write-items",    "--tasks",   "--data",    "--limit",
                                    "--num-fewshot",    "--seed",    "--entries", "--min-entries",
                                    "--max-entries",    "--lengths", "--batches", "--batch-items",
                                    "--phonebook-mode", "--quiet"};

// The flags that contradict or lack each other.
Status check(const Flags& flags) {
  if (!flags.given("--tasks") && !flags.given("--perplexity") && !flags.given("--rolling"))
    return wrong_usage("eval needs --tasks, --perplexity or --rolling");
  for (const auto& [flag, needed, or_else] : kDependences) {
    if (!flags.given(flag) || flags.given(needed) || (or_else != nullptr && flags.given(or_else))) continue;
    return wrong_usage(std::string(flag) + " is for " + needed +
                       (or_else != nullptr ? " or " + std::string(or_else) : ""));
  }
  if (flags.given("--write-items")) {
    for (const CLI::Option* option : flags.app.get_options()) {
      if (option->count() == 0 || std::ranges::find(kOfItems, option->get_name()) != std::end(kOfItems))
        continue;
      return wrong_usage("--write-items writes the items of tasks and scores nothing: without " +
                         option->get_name());
    }
  } else if (!flags.given("MODEL")) {
    return wrong_usage("eval needs MODEL, a model directory or the directory of a run");
  }
  return {};
}

// An error that the flags alone make, whatever the files hold.
Error as_usage(const Error& error) { return wrong_usage(error.message); }

Result<std::vector<const eval::Task*>> named_tasks(const Flags& flags) {
  std::vector<const eval::Task*> tasks;
  for (const std::string& name : flags.tasks) {
    const Result<const eval::Task*> found = eval::find_task(name);
    if (!found.ok()) return as_usage(found.error());
    const eval::Task* task = *found;
    if (!task->is_drawn() && flags.data.empty()) {
      return wrong_usage("--tasks " + name + " needs --data, the folder that holds a folder for each task");
    }
    if (task->writing && flags.settings.routing == "topk") {
      return wrong_usage("--routing topk chooses among the rows of a call, and the answers of " + name +
                         " are written token by token; expected threshold");
    }
    tasks.push_back(task);
  }
  if (flags.given("--data") && std::ranges::all_of(tasks, &eval::Task::is_drawn))
    return wrong_usage("--data is for tasks whose items are read, and those of phonebook are drawn");
  FATHOM_TRY(flags.written.check(tasks));
  return tasks;
}

// The items of the tasks, and how the answers of those are written that are.
Result<std::vector<TaskWork>> tasks_of(const Flags& flags) {
  FATHOM_ASSIGN(const std::vector<const eval::Task*> tasks, named_tasks(flags));
  std::vector<TaskWork> work;
  for (const eval::Task* task : tasks) {
    TaskWork one;
    if (task->writing) one.writing = flags.written.writing_of(*task);
    if (task->is_drawn()) {
      Result<eval::TaskItems> drawn = flags.written.draw_phonebook(*task);
      if (!drawn.ok()) return as_usage(drawn.error());
      one.items = std::move(*drawn);
    } else {
      eval::ItemSettings settings{.limit = flags.settings.limit, .shots = flags.shots};
      if (one.writing) settings.seed = one.writing->sampling.seed;
      FATHOM_ASSIGN(one.items, eval::read_items(*task, flags.data, settings));
    }
    work.push_back(std::move(one));
  }
  return work;
}

// Without --dtype: int4 or int8 if they are stored so, as published where all answers are written, else f32.
MatrixChoice matrices_of(const Flags& flags, const std::vector<TaskWork>& tasks) {
  const bool all_written =
      !tasks.empty() && flags.settings.perplexity.empty() && flags.settings.rolling.empty() &&
      std::ranges::all_of(tasks, [](const TaskWork& task) { return task.writing.has_value(); });
  return matrix_choice(flags.numeric.dtype, all_written ? tasks.front().writing->dtype : DType::kF32);
}

Result<int> write_items(const std::vector<TaskWork>& tasks, const std::string& path) {
  FATHOM_ASSIGN(AtomicFile file, AtomicFile::create(path));
  int64_t items = 0;
  for (const TaskWork& task : tasks) {
    for (const eval::Item& item : task.items.items) {
      FATHOM_TRY(file.write(json_text(eval::item_json(*task.items.task, item)) + "\n"));
      ++items;
    }
  }
  FATHOM_TRY(file.commit());
  std::cout << path << ": " << items << " items\n";
  return kExitOk;
}

Result<int> run(Flags& flags) {
  FATHOM_TRY(check(flags));
  EvaluationSettings& settings = flags.settings;
  for (const std::string& file : {settings.output, settings.samples, settings.plot, flags.write_items}) {
    if (!file.empty()) FATHOM_TRY(check_output_folder(file));
  }
  FATHOM_ASSIGN(std::vector<TaskWork> tasks, tasks_of(flags));
  if (flags.given("--write-items")) return write_items(tasks, flags.write_items);
  settings.kv_type = flags.numeric.keys();
  if (!flags.separator.empty()) settings.text.separator = flags.separator;
  ThreadPool pool(threads_or_all(flags.threads));
  FATHOM_ASSIGN(const LoadedModel model,
                load_model(flags.model, matrices_of(flags, tasks), flags.check_tensors, &pool));
  FATHOM_ASSIGN(settings.numerics, flags.numeric.numerics(model.plan, model.matrix_type));
  for (const char* flag : {"--routing", "--compute-budget", "--routing-agreement"}) {
    if (flags.given(flag) && !is_routed(model.plan))
      return invalid(std::string(flag) + ": this model has no routed recursion");
  }
  if (model.codec.vocab_size() > model.plan.dims.vocab_size) {
    return invalid(model.path + ": the tokenizer has " + std::to_string(model.codec.vocab_size()) +
                   " tokens, the model's vocab_size is " + std::to_string(model.plan.dims.vocab_size));
  }
  return run_evaluation(model, settings, std::move(tasks), pool);
}

}  // namespace

Action declare_eval(CLI::App& app) {
  auto flags = std::make_shared<Flags>(app);
  EvaluationSettings& settings = flags->settings;
  app.footer(
      "Tasks whose continuations are scored: lambada_openai, hellaswag, piqa, winogrande, arc_easy,\n"
      "arc_challenge, openbookqa, mmlu and mmlu_continuation, with the texts and the scoring of\n"
      "lm-evaluation-harness. Tasks whose answers are written: phonebook, whose items are drawn, aime24,\n"
      "aime25, math_500, gpqa and gpqa_diamond.");
  app.add_option("MODEL", flags->model, "model directory, or the directory of a run");
  app.add_option("--tasks", flags->tasks, "names with commas between")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--data", flags->data, "folder with a folder of JSON Lines for each task");
  app.add_option("--limit,-L", settings.limit,
                 "items of a task or a subject, rows, documents at most; 0: all")
      ->check(whole_number(0))
      ->capture_default_str();
  app.add_option("--num-fewshot,--num_fewshot", flags->shots,
                 "examples in front of each item, where the task has rows for them")
      ->check(whole_number(0))
      ->capture_default_str();
  app.add_option("--perplexity", settings.perplexity,
                 "text or token file or folder, scored in packed rows; may be given more than once")
      ->allow_extra_args(false);
  app.add_option("--sequence-length", settings.sequence_length,
                 "tokens fed of a packed row (default: the model's longest, 2048 at most)")
      ->check(whole_number(1, kMostContext));
  app.add_flag("--keep-documents-apart", settings.keep_apart, "packed rows are cut at documents' ends");
  app.add_flag("--label-inside-row", settings.label_inside,
               "a packed row predicts all its tokens but the first, and none of the next row");
  app.add_option("--by-context", settings.by_context,
                 "of --perplexity: nll by the tokens of context, in buckets of so many (default: none)")
      ->check(whole_number(1, kMostContext));
  app.add_option("--rolling", settings.rolling,
                 "text file or folder, each document scored in rolling windows, per word and byte; likewise")
      ->allow_extra_args(false);
  app.add_option("--document-separator", flags->separator,
                 "ends a document of text (default: the end of its file)")
      ->check(not_empty());
  app.add_option("--text-field", settings.text.json_field, "of JSON Lines: the field with a document's text")
      ->capture_default_str();
  app.add_option("--routing", settings.routing,
                 "of recursion: threshold is causal, topk as published (each request one call)")
      ->check(CLI::IsMember({"threshold", "topk"}))
      ->capture_default_str();
  app.add_option("--compute-budget", settings.budgets,
                 "of --perplexity: mean passes a token as shares of the most, with commas between; all "
                 "thresholds are shifted to meet each")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(between(1e-6, 1));
  app.add_option("--calibration-rows", settings.calibration_rows,
                 "the first packed rows, on which the shifts are found (default: a quarter, at most 16)")
      ->check(whole_number(1));
  app.add_option("--plot", settings.plot, "draw loss over compute as an SVG file")->check(not_empty());
  app.add_flag("--routing-agreement", settings.agreement,
               "of --perplexity: how often topk and threshold give a token the same depth");
  app.add_option("--context,-c,--max-length,--max_length", settings.context,
                 "tokens fed of a request at most (default: the model's longest)")
      ->check(whole_number(1, kMostContext));
  app.add_option("--chunk,-b", settings.chunk, "rows per call")
      ->check(whole_number(1, kMostChunk))
      ->capture_default_str();
  add_threads_flag(app, flags->threads);
  add_numeric_flags(app, flags->numeric);
  app.get_option("--dtype")->description(
      "of the matrices: f32, bf16, int8 or int4 (default: int4 or int8 if they are stored so, else f32; bf16 "
      "where all "
      "answers are written)");
  app.add_flag("--check-tensors", flags->check_tensors, "refuse weights that are not finite numbers");
  app.add_option("--chat-template", settings.chat_template,
                 "of messages: phi, chatml, or none (default: the model's own)")
      ->check(CLI::IsMember({"phi", "chatml", "none"}));
  app.add_flag("--json", settings.json, "print the results as JSON");
  app.add_option("--output,-o,--output-path,--output_path", settings.output,
                 "write the results to this file as JSON")
      ->check(not_empty());
  app.add_option("--log-samples,--log_samples", settings.samples,
                 "write a line of JSON for each item to this file, with what the model made of it")
      ->check(not_empty());
  app.add_option("--write-items", flags->write_items,
                 "write a line of JSON for each item of the tasks to this file, and do nothing else")
      ->check(not_empty());
  app.add_flag("--quiet", settings.quiet, "no progress");
  return [flags] { return run(*flags); };
}

}  // namespace fathom::cli
