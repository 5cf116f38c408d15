#include "train/loop.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "base/clock.h"
#include "base/file.h"
#include "base/isa.h"
#include "plan/count.h"
#include "plan/spec_io.h"
#include "plan/spec_words.h"
#include "train/calibrate.h"
#include "train/checkpoint.h"
#include "train/live_places.h"
#include "train/memory_estimate.h"
#include "train/optimizer.h"
#include "train/resume.h"
#include "train/router_schedule.h"
#include "train/svd_start.h"
#include "train/torch_parallel.h"
#include "weights/uptraining.h"

namespace fathom::train {

namespace {

// The order of rows in source number `index`; each has a seed of its own, the first that of the run.
OrderSettings order_of(const RunConfig& config, const PackedRows& rows, size_t index) {
  constexpr uint64_t kSeedStep = 0x9E3779B97F4A7C15;  // any odd number that is not small
  const uint64_t seed = config.train.seed + kSeedStep * index;
  switch (config.data.order) {
    case RowOrderKind::kSequential:
      return {.kind = OrderKind::kSequential};
    case RowOrderKind::kAffine:
      return {.kind = OrderKind::kAffine, .multiplier = config.data.affine_multiplier};
    case RowOrderKind::kFileGroups:
      return {.kind = OrderKind::kFileGroups,
              .seed = seed,
              .groups = {.file_rows = rows.rows_of_files(), .files = config.data.group_files}};
    case RowOrderKind::kShuffle:
      break;
  }
  return {.kind = OrderKind::kShuffled, .seed = seed};
}

Result<RowMixture> mixture_of(const RunConfig& config, const RunData& data) {
  std::vector<MixtureSource> sources;
  for (const TrainSource& source : data.sources) {
    FATHOM_ASSIGN(RowOrder order,
                  RowOrder::create(order_of(config, *source.rows, sources.size()), source.rows->rows()));
    sources.push_back(
        {source.config.name, source.config.weight, {std::move(order), source.rows->stream().fingerprint()}});
  }
  return RowMixture::create(std::move(sources));
}

// Enough for a share of decisions, and few enough that a run told to stop has its checkpoint at once.
constexpr int64_t kMostCalibrationRows = 64;

// Everything a run holds between steps.
class Run {
 public:
  static Status run(const RunRequest& request) {
    FATHOM_ASSIGN(ModelPlan plan, build_plan(request.config.model));
    if (request.rehearsal != 0) return rehearse(request, std::move(plan));
    FATHOM_TRY(make_directories(request.directory));
    Result<DirectoryLock> lock = lock_run(request.directory);
    if (!lock.ok() && lock.error().kind != ErrorKind::kNotSupported) return std::move(lock).error();
    if (!lock.ok()) notice(request, lock.error().message + ", so that a second run would not be noticed");
    FATHOM_ASSIGN(const std::optional<Resumption> resumption, resumption_of(request, plan));
    FATHOM_TRY(remove_leftovers(request.directory));
    settle_threads(request, resumption);
    FATHOM_ASSIGN(RunData data, open_run_data(request.config.data, plan.dims.vocab_size, request.directory,
                                              request.directory));
    FATHOM_ASSIGN(RowMixture rows, mixture_of(request.config, data));
    Run run(request, std::move(plan), std::move(data), std::move(rows));
    FATHOM_TRY(run.start(resumption));
    return run.loop();
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
        executor_(plan_, parameters_),
        balancer_(plan_, parameters_) {}

  // The checkpoint that the run goes on from, if there is one and it may.
  static Result<std::optional<Resumption>> resumption_of(const RunRequest& request, const ModelPlan& plan) {
    FATHOM_ASSIGN(std::optional<Resumption> resumption, find_resumption(request.directory));
    if (resumption && !request.resume) {
      return invalid(request.directory + " holds a run already (" + checkpoint_name(resumption->state.step) +
                     "); continue it with --resume or choose another --out");
    }
    if (resumption) {
      FATHOM_TRY(check_belongs(*resumption, request.config, plan, request.allow_changes));
    }
    return resumption;
  }

  // Some steps of a run as it would begin or go on, and nothing written but `scratch`.
  static Status rehearse(const RunRequest& request, ModelPlan plan) {
    FATHOM_ASSIGN(const std::optional<Resumption> resumption, resumption_of(request, plan));
    settle_threads(request, resumption);
    FATHOM_ASSIGN(RunData data, open_run_data(request.config.data, plan.dims.vocab_size, request.directory,
                                              request.scratch));
    FATHOM_ASSIGN(RowMixture rows, mixture_of(request.config, data));
    Run run(request, std::move(plan), std::move(data), std::move(rows));
    FATHOM_TRY(run.start(resumption));
    for (int64_t s = 0; s < request.rehearsal && !(request.stop != nullptr && request.stop->load()); ++s)
      FATHOM_TRY(run.step());
    return {};
  }

  static void notice(const RunRequest& request, const std::string& sentence) {
    for (TrainObserver* observer : request.observers) observer->on_notice(sentence);
  }

  // What the recipe asks for, else what the run had before.
  static void settle_threads(const RunRequest& request, const std::optional<Resumption>& resumption) {
    const int asked = request.config.train.threads;
    set_threads(asked == 0 && resumption ? resumption->state.threads : asked);
    if (!resumption) return;
    const auto differs = [&](const std::string& what, const std::string& saved, const std::string& own) {
      notice(request, resumption->path + " was made with " + what + " " + saved + ", this run has " + own +
                          "; its numbers may differ in their last bits from those of an uninterrupted run");
    };
    const int own = torch_parallel().num_threads();
    if (own != resumption->state.threads) {
      differs("train.threads", std::to_string(resumption->state.threads), std::to_string(own));
    }
    const std::string isa(name_of(isa_level()));
    if (isa != resumption->state.instruction_set) {
      differs("instruction set", resumption->state.instruction_set, isa);
    }
  }

  Status restore(const Resumption& resumption) {
    state_ = resumption.state;
    Status restored = rows_.restore(state_.data);
    if (restored.ok() && state_.valid_data != valid_fingerprint()) {
      restored = invalid("cannot resume: the saved validation data is " + or_none(state_.valid_data) +
                         ", this run's is " + or_none(valid_fingerprint()));
    }
    if (!restored.ok()) return at(resumption.path, std::move(restored).error());
    FATHOM_TRY(read_checkpoint_tensors(resumption.path, plan_, parameters_, optimizer_.state()));
    return request_.rehearsal != 0 ? Status() : prune_checkpoints(request_.directory, config_.train.keep);
  }

  std::string valid_fingerprint() const { return data_.valid ? data_.valid->stream().fingerprint() : ""; }
  static std::string or_none(const std::string& fingerprint) {
    return fingerprint.empty() ? "none" : fingerprint;
  }

  // From fresh weights, from those of the same model, or from the layers of a vanilla one.
  Status start_parameters() {
    init_parameters(plan_, config_.train.seed, parameters_);
    const std::optional<RelaxationSpec>& relaxation = plan_.spec.relaxation;
    const bool wants_source = relaxation && relaxation->svd_init != SvdInit::kNone;
    std::optional<ModelPlan> vanilla;
    if (!config_.init.empty()) {
      FATHOM_ASSIGN(vanilla, read_start(plan_, config_.init, config_.train.seed,
                                        [&](int32_t param) { return parameters_.values(param); }));
    }
    if (config_.init.empty() && wants_source) {
      return invalid("model.relaxation.svd_init: found \"" + std::string(word_of(relaxation->svd_init)) +
                     "\", but the run starts from fresh weights (init is empty)");
    }
    if (!vanilla) return {};
    // Parameters that the vanilla model has not follow those that it filled.
    if (!wants_source) {
      start_magnitudes(plan_, parameters_);
      return {};
    }
    Parameters source(*vanilla);
    FATHOM_ASSIGN(const WeightFiles files, WeightFiles::open(config_.init));
    FATHOM_TRY(load_parameters(*vanilla, naming_of(*vanilla), files, source));
    start_adapters(plan_, matrices_of(*vanilla, source), parameters_);
    return {};
  }

  Status start(const std::optional<Resumption>& resumption) {
    if (resumption) {
      FATHOM_TRY(restore(*resumption));
    } else {
      FATHOM_TRY(start_parameters());
    }
    state_.threads = torch_parallel().num_threads();
    state_.instruction_set = name_of(isa_level());
    state_.valid_data = valid_fingerprint();
    state_.recipe = recipe_of(config_);
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
    summary.calibration_rows = has_thresholds(plan_) ? calibration_rows() : 0;
    const std::vector<double> shares = rows_.state().shares;
    for (const TrainSource& source : data_.sources) {
      summary.sources.push_back({source.config.name, shares[summary.sources.size()], source.rows->rows(),
                                 source.rows->stream().tokens()});
    }
    summary.memory_bytes = training_bytes(plan_, memory_shape_of(config_));
    summary.threads = state_.threads;
    summary.first_step = state_.step;
    for (TrainObserver* observer : request_.observers) observer->on_start(summary);
    return check_observers();
  }

  // What observers could not do, with the way back.
  Status check_observers() const {
    for (const TrainObserver* observer : request_.observers) {
      Status status = observer->status();
      if (!status.ok()) return with_last_checkpoint(std::move(status).error());
    }
    return {};
  }

  Error with_last_checkpoint(Error error) const {
    const std::vector<int64_t> saved = list_checkpoints(request_.directory);
    error.message += saved.empty() ? "; there is no checkpoint yet"
                                   : "; the last good checkpoint is " + request_.directory + "/" +
                                         checkpoint_name(saved.back());
    return error;
  }

  Status loop() {
    const LoopConfig& train = config_.train;
    while (state_.step < train.steps) {
      FATHOM_TRY(step());
      FATHOM_TRY(check_observers());
      const bool last = state_.step == train.steps;
      const bool stopped = !last && request_.stop != nullptr && request_.stop->load();
      const auto due = [&](int64_t every) { return every > 0 && state_.step % every == 0; };
      // Also when stopped: a run that goes on does not come back to this step.
      if (data_.valid && (last || due(train.eval_every))) FATHOM_TRY(evaluate());
      if (last || stopped || due(train.save_every)) FATHOM_TRY(save());
      if (stopped) {
        return Error{"stopped after step " + std::to_string(state_.step) + "; --resume continues from " +
                         request_.directory + "/" + checkpoint_name(state_.step),
                     ErrorKind::kCancelled};
      }
      // Last: what goes wrong in a sample costs no step that a checkpoint was due for.
      if (due(train.sample_every)) {
        FATHOM_TRY(calibrate());
        for (TrainObserver* observer : request_.observers)
          observer->on_sample(state_.step, plan_, parameters_);
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
    options.precision = train.precision;
    options.gradient_checkpointing = train.gradient_checkpointing;
    options.loss_scale =
        1.0 / static_cast<double>(train.count_masked_labels ? tokens : std::max<int64_t>(1, counted));

    StepReport report;
    report.step = state_.step;
    report.steps = train.steps;
    options.accumulation = train.accumulation;
    options.draw_seed = train.seed;
    options.label_smoothing = train.label_smoothing;
    options.attention_dropout = {
        .own = state_.step >= train.attention_dropout_from ? train.attention_dropout : 0,
        .cross = state_.step >= train.cross_attention_dropout_from ? train.cross_attention_dropout : 0};
    for (const Batch& batch : batches) {
      ++state_.forward_calls;
      options.draw_call = static_cast<uint64_t>(state_.forward_calls);
      if (request_.rehearsal == 0) {
        set_warmups(plan_, state_.forward_calls, options);
        draw_capacities(plan_, train.seed, state_.forward_calls, options);
      }
      balancer_.begin_call(options);
      options.dropout = DropoutCall{train.seed, static_cast<uint64_t>(state_.forward_calls)};
      const ForwardResult result = executor_.forward(batch, options);
      result.loss.backward();
      balancer_.note(result);
      add_to(report, batch, result, static_cast<double>(batches.size()));
    }
    state_.tokens += tokens;
    report.tokens = state_.tokens;
    report.step_tokens = tokens;
    for (size_t i = 0; i < rows_.size(); ++i)
      report.source_tokens.push_back(rows_.rows_given(i) * config_.data.sequence_length);
    report.learning_rate = config_.schedule.of_step(state_.step, train.accumulation);
    FATHOM_TRY(update(report));
    // Nobody reads them again, and evaluations and checkpoints have their memory.
    parameters_.clear_gradients();
    report.seconds = clock_.seconds() - start;
    ++state_.step;
    for (TrainObserver* observer : request_.observers) observer->on_step(report);
    return {};
  }

  static void add_to(StepReport& report, const Batch& batch, const ForwardResult& result, double batches) {
    report.loss += result.loss_lm;
    report.loss_total += result.loss_total;
    report.z_loss += result.z_loss;
    if (result.choice) {
      report.balancing_loss += result.choice->balancing_loss;
      report.violation += result.choice->violation / batches;
      report.entropy += result.choice->entropy / batches;
    }
    report.sampling_loss += result.sampling_loss / batches;
    report.kept.resize(std::max(report.kept.size(), result.passes.size()));
    for (size_t r = 0; r < result.passes.size(); ++r) {
      const double share = 1 / static_cast<double>(result.passes.size()) / batches;
      report.sampling_accuracy += result.passes[r].accuracy * share;
      report.sampling_overlap += result.passes[r].overlap * share;
      report.kept[r] +=
          static_cast<double>(result.passes[r].kept.size()) / static_cast<double>(batch.rows()) / batches;
    }
  }

  // Clipping and AdamW. A loss or a norm that is no number stops the run before anything is changed.
  Status update(StepReport& report) {
    const GradientNorms norms = optimizer_.gradient_norms();
    report.grad_norm = norms.model;
    report.aux_grad_norm = norms.aux_router;
    if (!std::isfinite(report.loss_total) || !std::isfinite(norms.model) ||
        !std::isfinite(norms.aux_router)) {
      return with_last_checkpoint(invalid("step " + std::to_string(state_.step) + ": the loss is " +
                                          std::to_string(report.loss_total) + " and the gradient norm " +
                                          std::to_string(report.grad_norm)));
    }
    optimizer_.update(state_.step + 1, report.learning_rate, norms);
    balancer_.update();
    return {};
  }

  // Batches of `rows` rows that `add` adds one by one.
  std::vector<Batch> batches_of(int64_t rows, const std::function<void(int64_t, Batch&)>& add) const {
    std::vector<Batch> batches;
    for (int64_t row = 0; row < rows; ++row) {
      if (row % config_.train.rows == 0) batches.emplace_back();
      add(row, batches.back());
    }
    return batches;
  }

  std::vector<Batch> validation_batches(int64_t rows) const {
    return batches_of(rows,
                      [&](int64_t row, Batch& batch) { add_row(config_.data, *data_.valid, row, batch); });
  }

  // The rows that training sees first.
  Result<std::vector<Batch>> training_batches(int64_t rows) const {
    FATHOM_ASSIGN(RowMixture mixture, mixture_of(config_, data_));
    return batches_of(rows, [&](int64_t, Batch& batch) {
      const MixtureRow row = mixture.next();
      add_row(config_.data, *data_.sources[static_cast<size_t>(row.source)].rows, row.row, batch);
    });
  }

  int64_t evaluation_rows() const { return std::min(config_.train.eval_rows, data_.valid->rows()); }
  int64_t calibration_rows() const {
    return std::min(kMostCalibrationRows,
                    data_.valid ? evaluation_rows() : std::min(config_.train.eval_rows, data_.train_rows()));
  }

  // Thresholds for whoever reads them after this step. They follow from the parameters and from rows that are
  // always the same, and training reads none: a run that goes on has them without being told.
  Status calibrate() {
    if (!has_thresholds(plan_) || calibrated_at_ == state_.step) return {};
    const at::NoGradGuard no_graph;
    std::vector<Batch> batches;
    if (data_.valid) {
      batches = validation_batches(calibration_rows());
    } else {
      FATHOM_ASSIGN(batches, training_batches(calibration_rows()));
    }
    calibrate_thresholds(plan_, executor_, batches, config_.train.precision);
    calibrated_at_ = state_.step;
    return {};
  }

  Status evaluate() {
    const at::NoGradGuard no_graph;
    FATHOM_TRY(calibrate());
    const std::vector<Batch> batches = validation_batches(evaluation_rows());
    const Precision precision = config_.train.precision;
    EvaluationReport report;
    report.step = state_.step;
    int64_t passes = 0, rows = 0;
    LivePlaces alive(static_cast<size_t>(most_passes(plan_)));
    for (const Batch& batch : batches) {
      for (int32_t label : batch.labels) report.predictions += label >= 0 ? 1 : 0;
      ForwardOptions options;
      options.precision = precision;
      const ForwardResult result = executor_.forward(batch, options);
      report.nll += result.loss_lm;
      if (!is_routed(plan_)) continue;
      alive.note(batch, result);
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
    report.dead_share = alive.dead_share();
    for (TrainObserver* observer : request_.observers) observer->on_evaluation(report);
    return {};
  }

  Status save() {
    FATHOM_TRY(calibrate());
    state_.data = rows_.state();
    const std::string path = request_.directory + "/" + checkpoint_name(state_.step);
    Status saved = write_all(path);
    if (!saved.ok()) return with_last_checkpoint(std::move(saved).error());
    for (TrainObserver* observer : request_.observers) observer->on_checkpoint(state_.step, path);
    return check_observers();
  }

  // The logs come first: a checkpoint never stands for steps that they do not have.
  Status write_all(const std::string& path) {
    for (TrainObserver* observer : request_.observers) FATHOM_TRY(observer->make_durable());
    FATHOM_TRY(write_checkpoint(path, plan_, parameters_, optimizer_.state(), state_, data_));
    return prune_checkpoints(request_.directory, config_.train.keep);
  }

  const RunRequest& request_;
  const RunConfig& config_;
  ModelPlan plan_;
  RunData data_;
  RowMixture rows_;
  Parameters parameters_;
  Optimizer optimizer_;
  Executor executor_;
  LoadBalancer balancer_;
  TrainerState state_;
  int64_t calibrated_at_ = -1;  // the step
  SteadyClock clock_;
};

}  // namespace

Status run_training(const RunRequest& request) { return Run::run(request); }

}  // namespace fathom::train
