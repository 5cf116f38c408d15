// fathom eval: tasks with known answers, and how well a model predicts text.
#include <algorithm>
#include <iostream>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/evaluation.h"
#include "cli/written_flags.h"
#include "eval/report.h"

namespace fathom::cli {

namespace {

struct Flags {
  explicit Flags(CLI::App& app) : written(app) {}

  std::string model, data, separator, write_items;
  NumericFlags numeric;
  std::vector<std::string> tasks;
  int64_t shots = 0;
  bool has_shots = false, has_routing = false, check_tensors = false;
  EvaluationSettings settings;
  WrittenFlags written;
};

// The flags that contradict each other or the model.
Status check(const Flags& flags) {
  const EvaluationSettings& settings = flags.settings;
  const bool scores_text = !settings.perplexity.empty() || !settings.rolling.empty();
  if (flags.tasks.empty() && !scores_text) return invalid("eval needs --tasks, --perplexity or --rolling");
  if (flags.has_shots && flags.tasks.empty()) return invalid("--num-fewshot is for --tasks");
  if (!settings.samples.empty() && flags.tasks.empty()) return invalid("--log-samples is for --tasks");
  if (flags.write_items.empty() && flags.model.empty())
    return invalid("eval needs MODEL, a model directory or the directory of a run");
  if (!flags.write_items.empty() && flags.tasks.empty()) return invalid("--write-items is for --tasks");
  if (!flags.write_items.empty() && (scores_text || !flags.model.empty()))
    return invalid("--write-items writes the items of tasks and scores nothing: without MODEL and text");
  const std::pair<const char*, bool> for_packed[] = {{"--compute-budget", !settings.budgets.empty()},
                                                     {"--routing-agreement", settings.agreement},
                                                     {"--by-context", settings.by_context > 0}};
  for (const auto& [flag, given] : for_packed) {
    if (given && settings.perplexity.empty()) return invalid(std::string(flag) + " is for --perplexity");
  }
  const std::pair<const char*, bool> for_budgets[] = {{"--plot", !settings.plot.empty()},
                                                      {"--calibration-rows", settings.calibration_rows > 0}};
  for (const auto& [flag, given] : for_budgets) {
    if (given && settings.budgets.empty()) return invalid(std::string(flag) + " is for --compute-budget");
  }
  return {};
}

// The items of the tasks, and how the answers of those are written that are.
Result<std::vector<TaskWork>> tasks_of(const Flags& flags) {
  std::vector<const eval::Task*> tasks;
  for (const std::string& name : flags.tasks) {
    FATHOM_ASSIGN(const eval::Task* task, eval::find_task(name));
    if (!task->is_drawn() && flags.data.empty()) {
      return invalid("--tasks " + name + " needs --data, the folder that holds a folder for each task");
    }
    if (task->writing && flags.settings.routing == "topk") {
      return invalid("--routing topk chooses among the rows of a call, and the answers of " + name +
                     " are written token by token; expected threshold");
    }
    tasks.push_back(task);
  }
  FATHOM_TRY(flags.written.check(tasks));
  std::vector<TaskWork> work;
  for (const eval::Task* task : tasks) {
    TaskWork one;
    if (task->writing) one.writing = flags.written.writing_of(*task);
    if (task->is_drawn()) {
      FATHOM_ASSIGN(one.items, flags.written.draw_phonebook(*task));
    } else {
      eval::ItemSettings settings{.limit = flags.settings.limit, .shots = flags.shots};
      if (one.writing) settings.seed = one.writing->sampling.seed;
      FATHOM_ASSIGN(one.items, eval::read_items(*task, flags.data, settings));
    }
    work.push_back(std::move(one));
  }
  return work;
}

// Without --dtype: int8 if they are stored so, as published where all answers are written, else f32.
MatrixChoice matrices_of(const Flags& flags, const std::vector<TaskWork>& tasks) {
  const bool all_written =
      !tasks.empty() && flags.settings.perplexity.empty() && flags.settings.rolling.empty() &&
      std::ranges::all_of(tasks, [](const TaskWork& task) { return task.writing.has_value(); });
  return matrix_choice(flags.numeric.dtype, all_written ? tasks.front().writing->dtype : DType::kF32);
}

Result<int> write_items(const std::vector<TaskWork>& tasks, const std::string& path) {
  FATHOM_ASSIGN(OutputFile file, OutputFile::create(path));
  int64_t items = 0;
  for (const TaskWork& task : tasks) {
    for (const eval::Item& item : task.items.items) {
      FATHOM_TRY(file.write(eval::item_json(*task.items.task, item).dump() + "\n"));
      ++items;
    }
  }
  FATHOM_TRY(file.close());
  std::cout << path << ": " << items << " items\n";
  return kExitOk;
}

Result<int> run(Flags& flags) {
  FATHOM_TRY(check(flags));
  FATHOM_ASSIGN(std::vector<TaskWork> tasks, tasks_of(flags));
  if (!flags.write_items.empty()) return write_items(tasks, flags.write_items);
  EvaluationSettings& settings = flags.settings;
  settings.kv_type = flags.numeric.keys();
  if (!flags.separator.empty()) settings.text.separator = flags.separator;
  FATHOM_ASSIGN(const LoadedModel model,
                load_model(flags.model, matrices_of(flags, tasks), flags.check_tensors));
  FATHOM_ASSIGN(settings.numerics, flags.numeric.numerics(model.plan, model.matrix_type));
  const std::pair<const char*, bool> routed_only[] = {{"--routing", flags.has_routing},
                                                      {"--compute-budget", !settings.budgets.empty()},
                                                      {"--routing-agreement", settings.agreement}};
  for (const auto& [flag, given] : routed_only) {
    if (given && !is_routed(model.plan))
      return invalid(std::string(flag) + ": this model has no routed recursion");
  }
  if (model.codec.vocab_size() > model.plan.dims.vocab_size) {
    return invalid(model.path + ": the tokenizer has " + std::to_string(model.codec.vocab_size()) +
                   " tokens, the model's vocab_size is " + std::to_string(model.plan.dims.vocab_size));
  }
  return run_evaluation(model, settings, std::move(tasks));
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
      ->check(at_least(0));
  auto* shots = app.add_option("--num-fewshot,--num_fewshot", flags->shots,
                               "examples in front of each item, where the task has rows for them")
                    ->check(at_least(0));
  app.add_option("--perplexity", settings.perplexity,
                 "text or token file or folder, scored in packed rows; may be given more than once")
      ->allow_extra_args(false);
  app.add_option("--sequence-length", settings.sequence_length,
                 "tokens fed of a packed row (default: the model's longest, 2048 at most)")
      ->check(at_least(1));
  app.add_flag("--keep-documents-apart", settings.keep_apart, "packed rows are cut at documents' ends");
  app.add_flag("--label-inside-row", settings.label_inside,
               "a packed row predicts all its tokens but the first, and none of the next row");
  app.add_option("--by-context", settings.by_context,
                 "of --perplexity: nll by the tokens of context, in buckets of so many")
      ->check(at_least(1));
  app.add_option("--rolling", settings.rolling,
                 "text file or folder, each document scored in rolling windows, per word and byte; likewise")
      ->allow_extra_args(false);
  app.add_option("--document-separator", flags->separator, "ends a document of text (else: the file does)");
  app.add_option("--text-field", settings.text.json_field, "of JSON Lines: the field with a document's text");
  auto* routing =
      app.add_option("--routing", settings.routing,
                     "of recursion: threshold is causal, topk as published (each request one call)")
          ->check(CLI::IsMember({"threshold", "topk"}));
  app.add_option("--compute-budget", settings.budgets,
                 "of --perplexity: mean passes a token as shares of the most, with commas between; all "
                 "thresholds are shifted to meet each")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1e-6, 1.0));
  app.add_option("--calibration-rows", settings.calibration_rows,
                 "the first packed rows, on which the shifts are found (default: a quarter, at most 16)")
      ->check(at_least(1));
  app.add_option("--plot", settings.plot, "draw loss over compute as an SVG file");
  app.add_flag("--routing-agreement", settings.agreement,
               "of --perplexity: how often topk and threshold give a token the same depth");
  app.add_option("--context,-c,--max-length,--max_length", settings.context,
                 "tokens fed of a request at most (default: the model's longest)")
      ->check(at_least(1));
  app.add_option("--chunk,-b", settings.chunk, "rows per call")->check(at_least(1));
  app.add_option("--threads,-t", settings.threads, "0: all cores")->check(at_least(0));
  add_numeric_flags(app, flags->numeric);
  app.get_option("--dtype")->description(
      "of the matrices: f32, bf16 or int8 (default: int8 if they are stored so, else f32; bf16 where all "
      "answers are written)");
  app.add_flag("--check-tensors", flags->check_tensors, "refuse weights that are not finite numbers");
  app.add_option("--chat-template", settings.chat_template,
                 "of messages: phi, chatml, or none (default: the model's own)")
      ->check(CLI::IsMember({"phi", "chatml", "none"}));
  app.add_option("--json,--output-path,--output_path", settings.json,
                 "write the results to this file as JSON");
  app.add_option("--log-samples,--log_samples", settings.samples,
                 "write a line of JSON for each item to this file, with what the model made of it");
  app.add_option("--write-items", flags->write_items,
                 "write a line of JSON for each item of the tasks to this file, and do nothing else");
  app.add_flag("--quiet", settings.quiet, "no progress");
  return [flags, shots, routing]() -> Result<int> {
    flags->has_shots = shots->count() > 0;
    flags->has_routing = routing->count() > 0;
    return run(*flags);
  };
}

}  // namespace fathom::cli
