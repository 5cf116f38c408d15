// fathom eval: tasks with known answers, and how well a model predicts text.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/extents.h"
#include "base/file.h"
#include "base/parallel.h"
#include "cli/budget_chart.h"
#include "cli/commands.h"
#include "cli/figures.h"
#include "cli/loaded_model.h"
#include "cli/pack_texts.h"
#include "cli/progress.h"
#include "cli/scratch_directory.h"
#include "cli/stop_signal.h"
#include "eval/report.h"
#include "plan/work.h"

namespace fathom::cli {

namespace {

std::atomic<bool> stopping{false};

struct Flags {
  std::string model, data, routing = "threshold", dtype = "f32", kv_type = "f32", json, samples;
  std::vector<std::string> tasks, perplexity, rolling;
  std::string separator, text_field = "text";
  int64_t limit = 0, shots = 0, context = 0, chunk = 256, sequence_length = 0;
  int threads = 0;
  std::vector<double> budgets;
  std::string plot;
  int64_t calibration_rows = 0;
  bool agreement = false, check_tensors = false;
  bool keep_apart = false, label_inside = false, quiet = false;
  bool has_shots = false, has_routing = false;
};

TextSettings text_settings(const Flags& flags) {
  TextSettings settings;
  settings.json_field = flags.text_field;
  if (!flags.separator.empty()) settings.separator = flags.separator;
  return settings;
}

Status stopped_at(const std::string& name, int64_t done, int64_t total, const char* parts) {
  return Error{"stopped after " + std::to_string(done) + " of " + std::to_string(total) + " " + parts +
                   " of " + name + "; nothing is reported",
               ErrorKind::kCancelled};
}

// The flags that contradict each other or the model.
Status check(const Flags& flags) {
  if (flags.tasks.empty() && flags.perplexity.empty() && flags.rolling.empty())
    return invalid("eval needs --tasks, --perplexity or --rolling");
  if (!flags.tasks.empty() && flags.data.empty())
    return invalid("--tasks needs --data, the folder that holds a folder for each task");
  if (flags.has_shots && flags.tasks.empty()) return invalid("--num-fewshot is for --tasks");
  if (!flags.samples.empty() && flags.tasks.empty()) return invalid("--log-samples is for --tasks");
  const std::pair<const char*, bool> for_packed[] = {{"--compute-budget", !flags.budgets.empty()},
                                                     {"--routing-agreement", flags.agreement}};
  for (const auto& [flag, given] : for_packed) {
    if (given && flags.perplexity.empty()) return invalid(std::string(flag) + " is for --perplexity");
  }
  const std::pair<const char*, bool> for_budgets[] = {{"--plot", !flags.plot.empty()},
                                                      {"--calibration-rows", flags.calibration_rows > 0}};
  for (const auto& [flag, given] : for_budgets) {
    if (given && flags.budgets.empty()) return invalid(std::string(flag) + " is for --compute-budget");
  }
  return {};
}

class Evaluation {
 public:
  Evaluation(const Flags& flags, const LoadedModel& model)
      : flags_(flags),
        model_(model),
        pool_(flags.threads > 0 ? flags.threads : available_cores()),
        progress_(flags.quiet, ::isatty(STDERR_FILENO) != 0, clock_),
        max_inputs_(flags.context > 0 ? flags.context : std::max<int64_t>(1, model.plan.dims.max_positions)) {
    encoder_ = {.encode =
                    [&codec = model.codec](std::string_view text) {
                      return codec.encode(text, {.add_special_tokens = true, .parse_special = true});
                    },
                .prefix = model.codec.start_of_text()};
  }

  Result<int> run(std::vector<eval::TaskItems> tasks) {
    const double start = clock_.seconds();
    catch_stop_signals(stopping, "what was scored so far is not reported");
    FATHOM_TRY(prepare(tasks));
    eval::Report report = head_of_report();
    for (eval::TaskItems& items : tasks) {
      FATHOM_ASSIGN(eval::TaskReport task, score_task(items));
      report.tasks.push_back(std::move(task));
      items.items = {};
    }
    if (packed_) {
      FATHOM_ASSIGN(report.packed, score_packed());
    }
    if (!flags_.budgets.empty() || flags_.agreement) {
      FATHOM_ASSIGN(report.depths, study_depths());
      report.agreement = flags_.agreement;
    }
    if (!flags_.rolling.empty()) {
      FATHOM_ASSIGN(report.rolling, score_rolling());
    }
    if (samples_) FATHOM_TRY(samples_->close());
    progress_.end();
    add_work(report, clock_.seconds() - start);
    if (!flags_.plot.empty()) {
      FATHOM_TRY(write_file_atomic(flags_.plot,
                                   draw_budget_chart(*report.depths, "Loss and compute of " + model_.path)));
    }
    if (!flags_.json.empty())
      FATHOM_TRY(write_file_atomic(flags_.json, eval::to_json(report).dump(2) + "\n"));
    std::cout << eval::to_table(report) << std::flush;
    return kExitOk;
  }

 private:
  // Finds the longest request, and with it all that cannot be scored; makes the scorer for it.
  Status prepare(const std::vector<eval::TaskItems>& tasks) {
    for (const eval::TaskItems& items : tasks) {
      FATHOM_ASSIGN(const int64_t longest, eval::longest_request(items, encoder_, max_inputs_));
      longest_ = std::max(longest_, longest);
    }
    if (!flags_.perplexity.empty()) FATHOM_TRY(pack());
    if (!flags_.rolling.empty()) FATHOM_TRY(measure_documents());
    if (!flags_.samples.empty()) {
      FATHOM_ASSIGN(OutputFile file, OutputFile::create(flags_.samples));
      samples_.emplace(std::move(file));
    }
    const eval::ScorerSettings settings = {
        .routing = flags_.routing == "topk" ? RoutingMode::kTopK : RoutingMode::kThreshold,
        .max_inputs = std::max<int64_t>(1, longest_),
        .chunk = flags_.chunk,
        .kv_type = kv_type()};
    scorer_.emplace(model_.plan, *model_.weights, settings, pool_);
    const int64_t bytes = weight_bytes() + scorer_->state_bytes() + scorer_->scratch_bytes();
    progress_.say(model_.path + ": requests of up to " + std::to_string(longest_) + " tokens, " +
                  std::to_string(pool_.num_threads()) + " threads, about " +
                  rounded(static_cast<double>(bytes) / (1 << 20), 0) + " MiB of memory");
    return {};
  }

  Status pack() {
    packing_.sequence_length = sequence_length();
    packing_.keep_documents_apart = flags_.keep_apart;
    FATHOM_ASSIGN(ScratchDirectory scratch, ScratchDirectory::create("fathom-eval"));
    FATHOM_ASSIGN(PackedRows rows, pack_texts(flags_.perplexity, model_.codec,
                                              {.text = text_settings(flags_),
                                               .length = sequence_length() + (flags_.label_inside ? 0 : 1),
                                               .stride = sequence_length(),
                                               .vocab_size = model_.plan.dims.vocab_size},
                                              scratch.path()));
    packed_.emplace(std::move(rows));  // its files stay mapped
    longest_ = std::max(longest_, sequence_length());
    return {};
  }

  int64_t sequence_length() const {
    constexpr int64_t kMost = 2048;
    return flags_.sequence_length > 0 ? flags_.sequence_length : std::min(kMost, max_inputs_);
  }

  // Documents of --rolling, as many as --limit allows.
  Status for_each_rolling(const std::function<Status(std::string_view)>& visit) const {
    const TextSettings settings = text_settings(flags_);
    FATHOM_ASSIGN(const std::vector<std::string> files, list_text_files(flags_.rolling, settings));
    int64_t documents = 0;
    return for_each_document(files, settings, [&](std::string_view document) -> Status {
      return flags_.limit > 0 && documents++ >= flags_.limit ? Status() : visit(document);
    });
  }

  Status measure_documents() {
    FATHOM_TRY(for_each_rolling([&](std::string_view document) -> Status {
      const auto tokens = static_cast<int64_t>(encoder_.encode(document).size());
      rolling_windows_ += ceil_div(tokens, max_inputs_);
      longest_ = std::max(longest_, std::min(tokens, max_inputs_));
      return {};
    }));
    if (rolling_windows_ == 0) return invalid("--rolling: the text holds no token");
    return {};
  }

  Result<eval::TaskReport> score_task(const eval::TaskItems& items) {
    const auto total = static_cast<int64_t>(items.items.size());
    const std::string name(items.task->name);
    progress_.begin(name, total, "items");
    double right = 0;
    return eval::evaluate(
        items, encoder_, max_inputs_, *scorer_, [&](const eval::ScoredItem& scored) -> Status {
          if (samples_) FATHOM_TRY(samples_->write(eval::sample_json(scored).dump() + "\n"));
          for (size_t m = 0; m < scored.verdicts.size(); ++m)
            right += scored.task.metrics[m] == eval::Metric::kAcc ? scored.verdicts[m] : 0;
          progress_.update(scored.done, "acc " + rounded(right / static_cast<double>(scored.done), 4));
          if (stopping.load()) return stopped_at(name, scored.done, total, "items");
          return {};
        });
  }

  int64_t packed_rows() const {
    return flags_.limit > 0 ? std::min(flags_.limit, packed_->rows()) : packed_->rows();
  }

  // The first rows calibrate the budgets, if there are any: a quarter, but not more than are needed.
  Result<int64_t> calibration_rows() const {
    constexpr int64_t kEnough = 16;
    if (flags_.budgets.empty()) return 0;
    const int64_t rows = packed_rows();
    if (rows < 2)
      return invalid("--compute-budget: one packed row, expected another one to find the thresholds on");
    if (flags_.calibration_rows >= rows) {
      return invalid("--calibration-rows: found " + std::to_string(flags_.calibration_rows) +
                     ", expected fewer than the " + std::to_string(rows) + " packed rows");
    }
    return flags_.calibration_rows > 0 ? flags_.calibration_rows : std::clamp<int64_t>(rows / 4, 1, kEnough);
  }

  Result<eval::DepthStudy> study_depths() {
    FATHOM_ASSIGN(const int64_t calibration, calibration_rows());
    const int64_t rows = packed_rows() - calibration;
    progress_.say("depths: " + std::to_string(flags_.budgets.size()) + " budgets, thresholds found on " +
                  std::to_string(calibration) + " rows, " + std::to_string(rows) + " rows scored");
    int64_t done = 0;
    eval::RoutedRows routed(
        model_.plan, *model_.weights, *packed_,
        {.packing = packing_, .chunk = flags_.chunk, .kv_type = kv_type()}, pool_, [&]() -> Status {
          ++done;
          if (!stopping.load()) return {};
          return Error{"stopped after " + std::to_string(done) + " rows of the budgets; nothing is reported",
                       ErrorKind::kCancelled};
        });
    return eval::study_depths(routed, calibration, rows, flags_.budgets);
  }

  Result<eval::PackedResult> score_packed() {
    const int64_t rows = packed_rows();
    progress_.begin("perplexity", rows, "rows");
    return eval::score_packed(*packed_, rows, packing_, *scorer_,
                              [&](const eval::PackedResult& so_far) -> Status {
                                progress_.update(so_far.rows, "nll " + rounded(so_far.nll(), 4));
                                if (stopping.load())
                                  return stopped_at("perplexity", so_far.rows, rows, "rows");
                                return {};
                              });
  }

  Result<eval::RollingResult> score_rolling() {
    eval::RollingResult result;
    int64_t done = 0;
    progress_.begin("rolling", rolling_windows_, "windows");
    FATHOM_TRY(for_each_rolling([&](std::string_view document) {
      return eval::add_document(
          document, encoder_, max_inputs_, *scorer_,
          [&]() -> Status {
            progress_.update(++done, "");
            if (stopping.load()) return stopped_at("rolling", done, rolling_windows_, "windows");
            return {};
          },
          result);
    }));
    return result;
  }

  int64_t weight_bytes() const { return count_weight_bytes(model_.plan, matrix_type()); }
  DType kv_type() const { return flags_.kv_type == "bf16" ? DType::kBF16 : DType::kF32; }
  DType matrix_type() const { return flags_.dtype == "bf16" ? DType::kBF16 : DType::kF32; }

  eval::Report head_of_report() const {
    eval::Report report;
    report.model = model_.path;
    report.routing = is_routed(model_.plan) ? flags_.routing : "";
    report.dtype = flags_.dtype;
    report.kv_type = flags_.kv_type;
    report.sequence_length = packing_.sequence_length;
    report.max_inputs = longest_;
    return report;
  }

  void add_work(eval::Report& report, double seconds) const {
    const eval::WorkSpent& spent = scorer_->spent();
    report.rows = spent.rows();
    report.flops_per_token = spent.flops_per_row(model_.plan);
    report.mean_depth = spent.mean_depth();
    report.depth_shares = spent.depth_shares();
    report.weight_bytes = weight_bytes();
    report.state_bytes = scorer_->state_bytes();
    report.scratch_bytes = scorer_->scratch_bytes();
    report.seconds = seconds;
  }

  const Flags& flags_;
  const LoadedModel& model_;
  SteadyClock clock_;
  ThreadPool pool_;
  Progress progress_;
  eval::TextEncoder encoder_;
  const int64_t max_inputs_;
  int64_t longest_ = 0, rolling_windows_ = 0;
  eval::PackedSettings packing_;
  std::optional<PackedRows> packed_;
  std::optional<eval::Scorer> scorer_;
  std::optional<OutputFile> samples_;
};

Result<int> run(const Flags& flags) {
  FATHOM_TRY(check(flags));
  std::vector<eval::TaskItems> tasks;
  for (const std::string& name : flags.tasks) {
    FATHOM_ASSIGN(const eval::Task* task, eval::find_task(name));
    FATHOM_ASSIGN(eval::TaskItems items,
                  eval::read_items(*task, flags.data, {.limit = flags.limit, .shots = flags.shots}));
    tasks.push_back(std::move(items));
  }
  FATHOM_ASSIGN(
      const LoadedModel model,
      load_model(flags.model, flags.dtype == "bf16" ? DType::kBF16 : DType::kF32, flags.check_tensors));
  const std::pair<const char*, bool> routed_only[] = {{"--routing", flags.has_routing},
                                                      {"--compute-budget", !flags.budgets.empty()},
                                                      {"--routing-agreement", flags.agreement}};
  for (const auto& [flag, given] : routed_only) {
    if (given && !is_routed(model.plan))
      return invalid(std::string(flag) + ": this model has no routed recursion");
  }
  if (model.codec.vocab_size() > model.plan.dims.vocab_size) {
    return invalid(model.path + ": the tokenizer has " + std::to_string(model.codec.vocab_size()) +
                   " tokens, the model's vocab_size is " + std::to_string(model.plan.dims.vocab_size));
  }
  return Evaluation(flags, model).run(std::move(tasks));
}

}  // namespace

Action declare_eval(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.footer(
      "Tasks: lambada_openai, hellaswag, piqa, winogrande, arc_easy, arc_challenge, openbookqa, mmlu and\n"
      "mmlu_continuation, with the texts and the scoring of lm-evaluation-harness.");
  app.add_option("MODEL", flags->model, "model directory, or the directory of a run")->required();
  app.add_option("--tasks", flags->tasks, "names with commas between")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--data", flags->data, "folder with a folder of JSON Lines for each task");
  app.add_option("--limit,-L", flags->limit, "items of a task or a subject, rows, documents at most; 0: all")
      ->check(at_least(0));
  auto* shots = app.add_option("--num-fewshot,--num_fewshot", flags->shots,
                               "examples in front of each item, where the task has rows for them")
                    ->check(at_least(0));
  app.add_option("--perplexity", flags->perplexity,
                 "text or token file or folder, scored in packed rows; may be given more than once")
      ->allow_extra_args(false);
  app.add_option("--sequence-length", flags->sequence_length,
                 "tokens fed of a packed row (default: the model's longest, 2048 at most)")
      ->check(at_least(1));
  app.add_flag("--keep-documents-apart", flags->keep_apart, "packed rows are cut at documents' ends");
  app.add_flag("--label-inside-row", flags->label_inside,
               "a packed row predicts all its tokens but the first, and none of the next row");
  app.add_option("--rolling", flags->rolling,
                 "text file or folder, each document scored in rolling windows, per word and byte; likewise")
      ->allow_extra_args(false);
  app.add_option("--document-separator", flags->separator, "ends a document of text (else: the file does)");
  app.add_option("--text-field", flags->text_field, "of JSON Lines: the field with a document's text");
  auto* routing =
      app.add_option("--routing", flags->routing,
                     "of recursion: threshold is causal, topk as published (each request one call)")
          ->check(CLI::IsMember({"threshold", "topk"}));
  app.add_option("--compute-budget", flags->budgets,
                 "of --perplexity: mean passes a token as shares of the most, with commas between; all "
                 "thresholds are shifted to meet each")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1e-6, 1.0));
  app.add_option("--calibration-rows", flags->calibration_rows,
                 "the first packed rows, on which the shifts are found (default: a quarter, at most 16)")
      ->check(at_least(1));
  app.add_option("--plot", flags->plot, "draw loss over compute as an SVG file");
  app.add_flag("--routing-agreement", flags->agreement,
               "of --perplexity: how often topk and threshold give a token the same depth");
  app.add_option("--context,-c,--max-length,--max_length", flags->context,
                 "tokens fed of a request at most (default: the model's longest)")
      ->check(at_least(1));
  app.add_option("--chunk,-b", flags->chunk, "rows per call")->check(at_least(1));
  app.add_option("--threads,-t", flags->threads, "0: all cores")->check(at_least(0));
  app.add_option("--dtype", flags->dtype, "of the matrices")->check(CLI::IsMember({"f32", "bf16"}));
  app.add_flag("--check-tensors", flags->check_tensors, "refuse weights that are not finite numbers");
  app.add_option("--kv-type", flags->kv_type, "of the key-value cache")
      ->check(CLI::IsMember({"f32", "bf16"}));
  app.add_option("--json,--output-path,--output_path", flags->json, "write the results to this file as JSON");
  app.add_option("--log-samples,--log_samples", flags->samples,
                 "write a line of JSON for each item to this file");
  app.add_flag("--quiet", flags->quiet, "no progress");
  return [flags, shots, routing]() -> Result<int> {
    flags->has_shots = shots->count() > 0;
    flags->has_routing = routing->count() > 0;
    return run(*flags);
  };
}

}  // namespace fathom::cli
