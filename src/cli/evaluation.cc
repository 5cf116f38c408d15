#include "cli/evaluation.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iostream>

#include "base/clock.h"
#include "base/extents.h"
#include "base/file.h"
#include "base/parallel.h"
#include "cli/budget_chart.h"
#include "cli/command.h"
#include "cli/figures.h"
#include "cli/json_text.h"
#include "cli/long_context.h"
#include "cli/pack_texts.h"
#include "cli/progress.h"
#include "cli/prompt_codec.h"
#include "cli/run_memory.h"
#include "cli/scratch_directory.h"
#include "cli/stop_signal.h"
#include "eval/report.h"
#include "plan/work.h"

namespace fathom::cli {

namespace {

std::atomic<bool> stopping{false};

Status stopped_at(const std::string& name, int64_t done, int64_t total, const char* parts) {
  return Error{"stopped after " + std::to_string(done) + " of " + std::to_string(total) + " " + parts +
                   " of " + name + "; nothing is reported",
               ErrorKind::kCancelled};
}

int64_t context_of(const EvaluationSettings& settings, const LoadedModel& model) {
  return settings.context > 0 ? settings.context : std::max<int64_t>(1, model.plan.dims.max_positions);
}

class Evaluation {
 public:
  Evaluation(const EvaluationSettings& settings, const LoadedModel& model, Parallel& parallel)
      : settings_(settings),
        model_(model),
        parallel_(parallel),
        progress_(settings.quiet, ::isatty(STDERR_FILENO) != 0, clock_),
        max_inputs_(context_of(settings, model)) {
    encoder_ = {.encode =
                    [&codec = model.codec](std::string_view text) {
                      return codec.encode(text, {.add_special_tokens = true, .parse_special = true});
                    },
                .prefix = model.codec.start_of_text()};
  }

  Result<int> run(std::vector<TaskWork> tasks) {
    const double start = clock_.seconds();
    catch_stop_signals(stopping, "what was scored so far is not reported");
    FATHOM_TRY(prepare(tasks));
    eval::Report report = head_of_report();
    for (TaskWork& work : tasks) {
      FATHOM_ASSIGN(eval::TaskReport task, work.writing ? write_answers(work) : score_task(work.items));
      report.tasks.push_back(std::move(task));
      work.items.items = {};
    }
    if (packed_) {
      FATHOM_ASSIGN(report.packed, score_packed());
    }
    if (studies_depths()) {
      FATHOM_ASSIGN(report.depths, study_depths());
      report.agreement = settings_.agreement;
    }
    if (!settings_.rolling.empty()) {
      FATHOM_ASSIGN(report.rolling, score_rolling());
    }
    progress_.end();
    add_work(report, clock_.seconds() - start);
    const std::string json = json_text(eval::to_json(report), 2) + "\n";
    std::cout << (settings_.json ? json : eval::to_table(report)) << std::flush;
    if (!settings_.output.empty()) FATHOM_TRY(write_file_atomic(settings_.output, json));
    if (!settings_.plot.empty()) {
      FATHOM_TRY(write_file_atomic(settings_.plot,
                                   draw_budget_chart(*report.depths, "Loss and compute of " + model_.path)));
    }
    if (samples_) FATHOM_TRY(samples_->close());
    return kExitOk;
  }

 private:
  // Finds the longest request, and with it all that cannot be scored; makes what scores and what writes.
  Status prepare(std::vector<TaskWork>& tasks) {
    for (TaskWork& work : tasks) {
      if (work.writing) {
        FATHOM_TRY(prepare_writing(work));
        continue;
      }
      FATHOM_ASSIGN(const int64_t longest, eval::longest_request(work.items, encoder_, max_inputs_));
      longest_ = std::max(longest_, longest);
    }
    if (!settings_.perplexity.empty()) FATHOM_TRY(pack());
    if (!settings_.rolling.empty()) FATHOM_TRY(measure_documents());
    FATHOM_TRY(check_run_memory(model_.path, model_.plan, shapes(), settings_.kv_type, memory_flags()));
    say_if_beyond_longest("eval", "--context", settings_.context, model_.plan);
    say_if_beyond_longest("eval", "--sequence-length", settings_.sequence_length, model_.plan);
    if (!settings_.samples.empty()) {
      FATHOM_ASSIGN(OutputFile file, OutputFile::create(settings_.samples));
      samples_.emplace(std::move(file));
    }
    if (longest_ > 0) {
      const eval::ScorerSettings settings = {
          .routing = by_top_k() ? RoutingMode::kTopK : RoutingMode::kThreshold,
          .max_inputs = longest_,
          .chunk = settings_.chunk,
          .kv_type = settings_.kv_type,
          .each_target = settings_.by_context > 0,
          .numerics = settings_.numerics};
      scorer_.emplace(model_.plan, *model_.weights, settings, parallel_);
    }
    if (longest_written_ > 0) {
      const eval::WriterSettings settings = {.context = longest_written_,
                                             .chunk = settings_.chunk,
                                             .kv_type = settings_.kv_type,
                                             .several = several_answers_,
                                             .numerics = settings_.numerics};
      writer_.emplace(model_.plan, *model_.weights, settings, parallel_);
    }
    const int64_t bytes = weight_bytes() + state_bytes() + scratch_bytes();
    progress_.say(model_.path + ": requests of up to " +
                  std::to_string(std::max(longest_, longest_written_)) + " tokens, " +
                  std::to_string(parallel_.num_threads()) + " threads, about " +
                  rounded(static_cast<double>(bytes) / (1 << 20), 0) + " MiB of memory");
    return {};
  }

  bool by_top_k() const { return settings_.routing == "topk"; }
  bool studies_depths() const { return !settings_.budgets.empty() || settings_.agreement; }

  // What scorers and the writer hold (eval/scorer.h, eval/written.h), all at once.
  std::vector<RunShape> shapes() const {
    const auto scorer = [&](int64_t longest, bool top_k) {
      return top_k ? RunShape{.context = longest, .rows = longest, .states = 1}
                   : RunShape{.context = longest, .rows = std::min(settings_.chunk, longest), .states = 3};
    };
    std::vector<RunShape> shapes;
    if (longest_ > 0) shapes.push_back(scorer(longest_, by_top_k()));
    if (studies_depths()) {
      shapes.push_back(scorer(packing_.sequence_length, false));
      shapes.push_back(scorer(packing_.sequence_length, true));
    }
    if (longest_written_ > 0) {
      shapes.push_back({.context = longest_written_,
                        .rows = std::min(settings_.chunk, longest_written_),
                        .states = several_answers_ ? 2 : 1});
    }
    return shapes;
  }
  // Those that make it less.
  std::string memory_flags() const {
    std::string flags = packed_ ? "--sequence-length" : "";
    const bool requests = longest_written_ > 0 || longest_ > packing_.sequence_length;
    if (requests) flags += std::string(flags.empty() ? "" : " or ") + "--context";
    return flags + (by_top_k() ? "" : " or --chunk");
  }

  Status prepare_writing(TaskWork& work) {
    eval::Writing& writing = *work.writing;
    const bool as_published = settings_.context == 0 && writing.context > 0;
    writing.context = as_published ? std::min(writing.context, max_inputs_) : max_inputs_;
    FATHOM_ASSIGN(work.prompts, prompt_codec_of(model_, writing.chat, settings_.chat_template));
    FATHOM_ASSIGN(const int64_t longest, eval::longest_written(work.items, writing, work.prompts));
    longest_written_ = std::max(longest_written_, longest);
    several_answers_ |= writing.samples > 1;
    return {};
  }

  Status pack() {
    packing_.sequence_length = sequence_length();
    packing_.keep_documents_apart = settings_.keep_apart;
    packing_.bucket = settings_.by_context;
    FATHOM_ASSIGN(ScratchDirectory scratch, ScratchDirectory::create("fathom-eval"));
    FATHOM_ASSIGN(PackedRows rows, pack_texts(settings_.perplexity, model_.codec,
                                              {.text = settings_.text,
                                               .length = sequence_length() + (settings_.label_inside ? 0 : 1),
                                               .stride = sequence_length(),
                                               .vocab_size = model_.plan.dims.vocab_size,
                                               .rows = settings_.limit,
                                               .threads = &parallel_},
                                              scratch.path()));
    packed_.emplace(std::move(rows));  // its files stay mapped
    longest_ = std::max(longest_, sequence_length());
    return {};
  }

  int64_t sequence_length() const {
    constexpr int64_t kMost = 2048;
    return settings_.sequence_length > 0 ? settings_.sequence_length : std::min(kMost, max_inputs_);
  }

  // Documents of --rolling, as many as --limit allows.
  Status for_each_rolling(const std::function<Status(std::string_view)>& visit) const {
    const TextSettings settings = settings_.text;
    FATHOM_ASSIGN(const std::vector<std::string> files, list_text_files(settings_.rolling, settings));
    int64_t documents = 0;
    return for_each_document(files, settings, [&](std::string_view document) -> Status {
      return settings_.limit > 0 && documents++ >= settings_.limit ? Status() : visit(document);
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
    begin_task(items);
    return eval::evaluate(items, encoder_, max_inputs_, *scorer_,
                          [&](const eval::ScoredItem& scored) { return note(items, scored); });
  }

  Result<eval::TaskReport> write_answers(const TaskWork& work) {
    begin_task(work.items);
    return eval::evaluate_written(
        work.items, *work.writing, work.prompts, *writer_,
        {.on_item = [&](const eval::ScoredItem& scored) { return note(work.items, scored); },
         .go_on = [] { return !stopping.load(); }});
  }

  void begin_task(const eval::TaskItems& items) {
    right_ = 0;
    progress_.begin(std::string(items.task->name), static_cast<int64_t>(items.items.size()), "items");
  }

  // An item that was scored. Progress shows the mean of the last metric that counts what is right item by
  // item.
  Status note(const eval::TaskItems& items, const eval::ScoredItem& scored) {
    const std::string name(items.task->name);
    // What is being written when it is stopped is no answer.
    if (stopping.load() && items.task->writing)
      return stopped_at(name, scored.done - 1, static_cast<int64_t>(items.items.size()), "items");
    if (samples_) FATHOM_TRY(samples_->write(json_text(eval::sample_json(scored)) + "\n"));
    const auto shown = std::ranges::find_if(scored.task.metrics, [](eval::Metric metric) {
      return metric == eval::Metric::kAcc || metric == eval::Metric::kExactMatch ||
             metric == eval::Metric::kPassAtOne;
    });
    right_ += scored.verdicts[static_cast<size_t>(shown - scored.task.metrics.begin())];
    progress_.update(scored.done, std::string(name_of(*shown)) + " " +
                                      rounded(right_ / static_cast<double>(scored.done), 4));
    if (stopping.load())
      return stopped_at(name, scored.done, static_cast<int64_t>(items.items.size()), "items");
    return {};
  }

  int64_t packed_rows() const {
    return settings_.limit > 0 ? std::min(settings_.limit, packed_->rows()) : packed_->rows();
  }

  // The first rows calibrate the budgets, if there are any: a quarter, but not more than are needed.
  Result<int64_t> calibration_rows() const {
    constexpr int64_t kEnough = 16;
    if (settings_.budgets.empty()) return 0;
    const int64_t rows = packed_rows();
    if (rows < 2)
      return invalid("--compute-budget: one packed row, expected another one to find the thresholds on");
    if (settings_.calibration_rows >= rows) {
      return invalid("--calibration-rows: found " + std::to_string(settings_.calibration_rows) +
                     ", expected fewer than the " + std::to_string(rows) + " packed rows");
    }
    return settings_.calibration_rows > 0 ? settings_.calibration_rows
                                          : std::clamp<int64_t>(rows / 4, 1, kEnough);
  }

  Result<eval::DepthStudy> study_depths() {
    FATHOM_ASSIGN(const int64_t calibration, calibration_rows());
    const int64_t rows = packed_rows() - calibration;
    progress_.say("depths: " + std::to_string(settings_.budgets.size()) + " budgets, thresholds found on " +
                  std::to_string(calibration) + " rows, " + std::to_string(rows) + " rows scored");
    int64_t done = 0;
    eval::RoutedRows routed(
        model_.plan, *model_.weights, *packed_,
        {.packing = packing_,
         .chunk = settings_.chunk,
         .kv_type = settings_.kv_type,
         .numerics = settings_.numerics},
        parallel_, [&]() -> Status {
          ++done;
          if (!stopping.load()) return {};
          return Error{"stopped after " + std::to_string(done) + " rows of the budgets; nothing is reported",
                       ErrorKind::kCancelled};
        });
    return eval::study_depths(routed, calibration, rows, settings_.budgets);
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

  int64_t weight_bytes() const { return count_weight_bytes(model_.plan, model_.matrix_type); }
  int64_t state_bytes() const {
    return (scorer_ ? scorer_->state_bytes() : 0) + (writer_ ? writer_->state_bytes() : 0);
  }
  int64_t scratch_bytes() const {
    return (scorer_ ? scorer_->scratch_bytes() : 0) + (writer_ ? writer_->scratch_bytes() : 0);
  }

  eval::Report head_of_report() const {
    eval::Report report;
    report.model = model_.path;
    report.routing = is_routed(model_.plan) ? settings_.routing : "";
    report.dtype = name_of(model_.matrix_type);
    report.kv_type = name_of(settings_.kv_type);
    report.rounding = word_of(settings_.numerics.rounding);
    report.state_type = name_of(settings_.numerics.state_type);
    report.sequence_length = packing_.sequence_length;
    report.bucket = packing_.bucket;
    report.max_inputs = std::max(longest_, longest_written_);
    return report;
  }

  void add_work(eval::Report& report, double seconds) const {
    eval::WorkSpent spent;
    if (scorer_) spent.add(scorer_->spent());
    if (writer_) spent.add(writer_->spent());
    report.rows = spent.rows();
    report.flops_per_token = spent.flops_per_row(model_.plan);
    report.mean_depth = spent.mean_depth();
    report.depth_shares = spent.depth_shares();
    report.weight_bytes = weight_bytes();
    report.state_bytes = state_bytes();
    report.scratch_bytes = scratch_bytes();
    report.seconds = seconds;
  }

  const EvaluationSettings& settings_;
  const LoadedModel& model_;
  SteadyClock clock_;
  Parallel& parallel_;
  Progress progress_;
  eval::TextEncoder encoder_;
  const int64_t max_inputs_;
  int64_t longest_ = 0, rolling_windows_ = 0;
  int64_t longest_written_ = 0;  // prompt and answer
  bool several_answers_ = false;
  double right_ = 0;  // of the task that is going on
  eval::PackedSettings packing_;
  std::optional<PackedRows> packed_;
  std::optional<eval::Scorer> scorer_;  // where there is something to score
  std::optional<eval::Writer> writer_;  // where answers are written
  std::optional<OutputFile> samples_;
};

}  // namespace

Result<int> run_evaluation(const LoadedModel& model, const EvaluationSettings& settings,
                           std::vector<TaskWork> tasks, Parallel& parallel) {
  return Evaluation(settings, model, parallel).run(std::move(tasks));
}

}  // namespace fathom::cli
