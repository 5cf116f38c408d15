#include "train/loop.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/clock.h"
#include "base/file.h"
#include "plan/count.h"
#include "plan/spec_io.h"
#include "train/calibrate.h"
#include "train/checkpoint.h"
#include "train/memory_estimate.h"
#include "train/optimizer.h"
#include "train/torch_parallel.h"
#include "weights/checkpoint.h"

namespace fathom::train {

namespace {

bool is_routed(const ModelPlan& plan) {
  return std::ranges::any_of(plan.segments, [](const Segment& s) { return s.router.has_value(); });
}

// The order of rows in source number `index`; each has a seed of its own, the first that of the run.
OrderSettings order_of(const RunConfig& config, size_t index) {
  switch (config.data.order) {
    case RowOrderKind::kSequential:
      return {.kind = OrderKind::kSequential};
    case RowOrderKind::kAffine:
      return {.kind = OrderKind::kAffine, .multiplier = config.data.affine_multiplier};
    case RowOrderKind::kShuffle:
      break;
  }
  constexpr uint64_t kSeedStep = 0x9E3779B97F4A7C15;  // any odd number that is not small
  return {.kind = OrderKind::kShuffled, .seed = config.train.seed + kSeedStep * index};
}

Result<RowMixture> mixture_of(const RunConfig& config, const RunData& data) {
  std::vector<MixtureSource> sources;
  for (const TrainSource& source : data.sources) {
    FATHOM_ASSIGN(RowOrder order, RowOrder::create(order_of(config, sources.size()), source.rows->rows()));
    sources.push_back(
        {source.config.name, source.config.weight, {std::move(order), source.rows->stream().fingerprint()}});
  }
  return RowMixture::create(std::move(sources));
}

// Everything a run holds between steps.
class Run {
 public:
  static Status run(const RunRequest& request) {
    FATHOM_ASSIGN(ModelPlan plan, build_plan(request.config.model));
    FATHOM_TRY(check_executable(plan));
    if (request.config.train.threads > 0) set_threads(request.config.train.threads);
    const bool rehearsal = request.rehearsal != 0;
    if (!rehearsal) FATHOM_TRY(make_directories(request.directory));
    FATHOM_ASSIGN(RunData data, open_run_data(request.config.data, plan.dims.vocab_size, request.directory,
                                              rehearsal ? request.scratch : request.directory));
    FATHOM_ASSIGN(RowMixture rows, mixture_of(request.config, data));
    Run run(request, std::move(plan), std::move(data), std::move(rows));
    FATHOM_TRY(run.start());
    return rehearsal ? run.rehearse() : run.loop();
  }

 private:
  Run(const RunRequest& request, ModelPlan plan, RunData data, RowMixture rows)
      : request_(request),
        config_(request.config),
        plan_(std::move(plan)),
        data_(std::move(data)),
        rows_(std::move(rows)),
        parameters_(plan_),
        optimizer_(plan_, config_.optimizer, parameters_),
        executor_(plan_, parameters_) {}

  Status start() {
    const std::vector<int64_t> checkpoints = list_checkpoints(request_.directory);
    if (!checkpoints.empty() && !request_.resume) {
      return invalid(request_.directory + " holds a run already (" + checkpoint_name(checkpoints.back()) +
                     "); continue it with --resume or choose another --out");
    }
    if (!checkpoints.empty()) {
      const std::string path = request_.directory + "/" + checkpoint_name(checkpoints.back());
      FATHOM_TRY(read_checkpoint(path, plan_, parameters_, optimizer_.state(), state_));
      FATHOM_TRY(rows_.restore(state_.data));
    } else if (!config_.init.empty()) {
      FATHOM_ASSIGN(const WeightFiles files, WeightFiles::open(config_.init));
      FATHOM_TRY(load_parameters(plan_, naming_of(plan_), files, parameters_));
    } else {
      init_parameters(plan_, config_.train.seed, parameters_);
    }
    state_.threads = torch_parallel().num_threads();
    if (request_.rehearsal == 0) {
      FATHOM_TRY(write_file_atomic(request_.directory + "/config.toml", to_toml(config_)));
      FATHOM_TRY(write_file_atomic(request_.directory + "/config.json", write_config_json(plan_.spec)));
    }

    RunSummary summary;
    summary.config = &config_;
    summary.plan = &plan_;
    summary.directory = request_.directory;
    summary.parameters = count_parameters(plan_).unique;
    summary.train_rows = data_.train_rows();
    summary.valid_rows = data_.valid ? data_.valid->rows() : 0;
    summary.train_tokens = data_.train_tokens();
    const std::vector<double> shares = rows_.state().shares;
    for (const TrainSource& source : data_.sources) {
      summary.sources.push_back({source.config.name, shares[summary.sources.size()], source.rows->rows(),
                                 source.rows->stream().tokens()});
    }
    summary.memory_bytes = training_bytes(plan_, memory_shape_of(config_));
    summary.threads = state_.threads;
    summary.first_step = state_.step;
    for (TrainObserver* observer : request_.observers) observer->on_start(summary);
    return {};
  }

  Status rehearse() {
    for (int64_t s = 0; s < request_.rehearsal && !(request_.stop != nullptr && request_.stop->load()); ++s)
      FATHOM_TRY(step());
    return {};
  }

  Status loop() {
    const LoopConfig& train = config_.train;
    while (state_.step < train.steps) {
      FATHOM_TRY(step());
      const bool last = state_.step == train.steps;
      const bool stopped = request_.stop != nullptr && request_.stop->load();
      const auto due = [&](int64_t every) { return every > 0 && state_.step % every == 0; };
      if (data_.valid && !stopped && (last || due(train.eval_every))) FATHOM_TRY(evaluate(last));
      if (due(train.sample_every) && !stopped) {
        for (TrainObserver* observer : request_.observers)
          observer->on_sample(state_.step, plan_, parameters_);
      }
      if (last || stopped || due(train.save_every)) FATHOM_TRY(save());
      if (stopped && !last) {
        return Error{"stopped after step " + std::to_string(state_.step) + "; --resume continues from " +
                         request_.directory + "/" + checkpoint_name(state_.step),
                     ErrorKind::kCancelled};
      }
    }
    return {};
  }

  Status step() {
    const double start = clock_.seconds();
    const LoopConfig& train = config_.train;
    std::vector<Batch> batches;
    int64_t counted = 0, tokens = 0;
    for (int64_t m = 0; m < train.accumulation; ++m) {
      Batch batch;
      for (const MixtureRow& row : rows_.next_batch(train.rows)) {
        const TrainSource& source = data_.sources[static_cast<size_t>(row.source)];
        counted += add_row(config_.data, *source.rows, row.row, batch);
      }
      tokens += batch.rows();
      batches.push_back(std::move(batch));
    }
    ForwardOptions options;
    options.bf16 = train.precision == Precision::kBF16;
    options.gradient_checkpointing = train.gradient_checkpointing;
    options.loss_scale =
        1.0 / static_cast<double>(train.count_masked_labels ? tokens : std::max<int64_t>(1, counted));

    StepReport report;
    report.step = state_.step;
    report.steps = train.steps;
    parameters_.clear_gradients();
    for (const Batch& batch : batches) {
      ++state_.forward_calls;
      options.capacity_warmup = capacity_warmup();
      const ForwardResult result = executor_.forward(batch, options);
      result.loss.backward();
      add_to(report, batch, result, static_cast<double>(batches.size()));
    }
    state_.tokens += tokens;
    report.tokens = state_.tokens;
    report.step_tokens = tokens;
    for (size_t i = 0; i < rows_.size(); ++i)
      report.source_tokens.push_back(rows_.rows_given(i) * config_.data.sequence_length);
    report.learning_rate = config_.schedule.at(state_.step);
    FATHOM_TRY(update(report));
    report.seconds = clock_.seconds() - start;
    ++state_.step;
    for (TrainObserver* observer : request_.observers) observer->on_step(report);
    return {};
  }

  double capacity_warmup() const {
    if (request_.rehearsal != 0) return 1;
    for (const Segment& segment : plan_.segments) {
      if (segment.router && segment.router->spec.capacity_warmup_steps > 0) {
        return static_cast<double>(state_.forward_calls) /
               static_cast<double>(segment.router->spec.capacity_warmup_steps);
      }
    }
    return 1;
  }

  static void add_to(StepReport& report, const Batch& batch, const ForwardResult& result, double batches) {
    report.loss += result.loss_lm;
    report.loss_total += result.loss.item<float>();
    report.sampling_loss += result.sampling_loss / batches;
    report.kept.resize(std::max(report.kept.size(), result.passes.size()));
    for (size_t r = 0; r < result.passes.size(); ++r) {
      report.sampling_accuracy +=
          result.passes[r].accuracy / static_cast<double>(result.passes.size()) / batches;
      report.kept[r] +=
          static_cast<double>(result.passes[r].kept.size()) / static_cast<double>(batch.rows()) / batches;
    }
  }

  // Clipping and AdamW. A loss or a norm that is no number stops the run before anything is changed.
  Status update(StepReport& report) {
    report.grad_norm = optimizer_.gradient_norm();
    if (!std::isfinite(report.loss_total) || !std::isfinite(report.grad_norm)) {
      const std::vector<int64_t> saved = list_checkpoints(request_.directory);
      return invalid("step " + std::to_string(state_.step) + ": the loss is " +
                     std::to_string(report.loss_total) + " and the gradient norm " +
                     std::to_string(report.grad_norm) +
                     (saved.empty() ? "; there is no checkpoint yet"
                                    : "; the last good checkpoint is " + request_.directory + "/" +
                                          checkpoint_name(saved.back())));
    }
    optimizer_.update(state_.step + 1, report.learning_rate, report.grad_norm);
    return {};
  }

  std::vector<Batch> validation_batches() const {
    std::vector<Batch> batches;
    const int64_t rows = std::min(config_.train.eval_rows, data_.valid->rows());
    for (int64_t first = 0; first < rows; first += config_.train.rows) {
      Batch batch;
      for (int64_t row = first; row < std::min(rows, first + config_.train.rows); ++row) {
        add_row(config_.data, *data_.valid, row, batch);
      }
      batches.push_back(std::move(batch));
    }
    return batches;
  }

  Status evaluate(bool last) {
    const at::NoGradGuard no_graph;
    const std::vector<Batch> batches = validation_batches();
    const bool bf16 = config_.train.precision == Precision::kBF16;
    if (last && is_routed(plan_)) calibrate_thresholds(plan_, executor_, batches, bf16);
    EvaluationReport report;
    report.step = state_.step;
    int64_t passes = 0, rows = 0;
    for (const Batch& batch : batches) {
      for (int32_t label : batch.labels) report.predictions += label >= 0 ? 1 : 0;
      ForwardOptions options;
      options.bf16 = bf16;
      report.nll += executor_.forward(batch, options).loss_lm;
      if (!is_routed(plan_)) continue;
      options.routing = Routing::kThreshold;
      const ForwardResult causal = executor_.forward(batch, options);
      report.nll_threshold += causal.loss_lm;
      for (const RoutedPass& pass : causal.passes) passes += static_cast<int64_t>(pass.kept.size());
      rows += batch.rows();
    }
    const auto predictions = static_cast<double>(std::max<int64_t>(1, report.predictions));
    report.nll /= predictions;
    report.nll_threshold = is_routed(plan_) ? report.nll_threshold / predictions : report.nll;
    report.mean_depth = rows > 0 ? static_cast<double>(passes) / static_cast<double>(rows) : 0;
    for (TrainObserver* observer : request_.observers) observer->on_evaluation(report);
    return {};
  }

  Status save() {
    state_.data = rows_.state();
    const std::string path = request_.directory + "/" + checkpoint_name(state_.step);
    FATHOM_TRY(write_checkpoint(path, plan_, parameters_, optimizer_.state(), state_, data_));
    FATHOM_TRY(prune_checkpoints(request_.directory, config_.train.keep));
    for (TrainObserver* observer : request_.observers) observer->on_checkpoint(state_.step, path);
    return {};
  }

  const RunRequest& request_;
  const RunConfig& config_;
  ModelPlan plan_;
  RunData data_;
  RowMixture rows_;
  Parameters parameters_;
  Optimizer optimizer_;
  Executor executor_;
  TrainerState state_;
  SteadyClock clock_;
};

}  // namespace

Status run_training(const RunRequest& request) { return Run::run(request); }

}  // namespace fathom::train
