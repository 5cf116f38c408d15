// fathom bench: how fast a model runs here, and how near that is to what the machine can do.
#include <atomic>
#include <ctime>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>

#include "base/file.h"
#include "base/isa.h"
#include "base/machine_limits.h"
#include "base/parallel.h"
#include "cli/bench/depth_chart.h"
#include "cli/bench/output.h"
#include "cli/bench/runner.h"
#include "cli/bench_serving.h"
#include "cli/commands.h"
#include "cli/flag_checks.h"
#include "cli/output_folder.h"
#include "cli/run_memory.h"
#include "cli/stop_signal.h"
#include "cli/threads_flag.h"

#if !defined(FATHOM_VERSION) || !defined(FATHOM_COMMIT)
#error "the build defines FATHOM_VERSION and FATHOM_COMMIT"
#endif

namespace fathom::cli {

namespace {

using namespace bench;

std::atomic<bool> stopped{false};

constexpr int64_t kMostParallel = 1024;

struct Flags {
  std::vector<std::string> models;
  std::vector<int64_t> prompts = {512}, generations = {128}, depths = {0}, parallel = {1};
  std::vector<int> threads = {0};
  std::vector<std::string> dtypes;  // none: as the model is stored
  std::string kv_type = "bf16", fill = "prefill", output = "md", plot;
  int64_t chunk = 512;
  int repetitions = 5;
  int64_t group = 0;
  NumericFlags numeric;  // the lists of types apart
  bool fill_given = false, profile = false, progress = false, no_prefill_shortcut = false;
  std::optional<ServingFlags> serving;

  DType keys() const { return kv_type == "bf16" ? DType::kBF16 : DType::kF32; }
};

std::string now() {
  const std::time_t seconds = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%FT%TZ", std::gmtime(&seconds));
  return text;
}

// Bytes that the system could still give this process, about; nothing where it does not say.
Status check_memory(const BenchModel& model, int64_t bytes) {
  const std::optional<int64_t> available = available_memory();
  if (!available || bytes <= *available) return {};
  return invalid(model.given + ": states and scratch memory need about " + std::to_string(bytes >> 20) +
                 " MiB, but " + std::to_string(*available >> 20) +
                 " MiB are free; use a smaller -d, -p, --n-parallel or --chunk");
}

// One model in one type on one number of threads.
struct Setup {
  const BenchModel& model;
  Numerics numerics;
  ThreadPool& pool;
  int threads;
};

using Emit = std::function<void(Json row)>;

ModelFacts facts_of(const Flags& flags, const Setup& setup) {
  return {.model = &setup.model,
          .matrix_type = setup.model.matrix_type,
          .kv_type = flags.keys(),
          .numerics = setup.numerics,
          .threads = setup.threads,
          .chunk = flags.chunk,
          .prefill_shortcut = !flags.no_prefill_shortcut,
          .depth_fill = flags.fill,
          .time = now()};
}

Environment environment() {
  return {FATHOM_VERSION, FATHOM_COMMIT, processor_name(), std::string(name_of(isa_level()))};
}

Status run_tests(const Flags& flags, const std::vector<Workload>& work, const Setup& setup,
                 const Emit& emit) {
  const BenchModel& model = setup.model;
  SteadyClock clock;
  const RunnerOptions options{.matrix_type = model.matrix_type,
                              .kv_type = flags.keys(),
                              .numerics = setup.numerics,
                              .chunk = flags.chunk,
                              .fill = flags.fill == "random" ? DepthFill::kRandom : DepthFill::kPrefill,
                              .prefill_shortcut = !flags.no_prefill_shortcut};
  FATHOM_TRY(check_memory(model, runner_bytes(model.plan, work, options)));
  kernels::ReadProbe probe(kernels::ReadProbe::bytes_beyond_caches(), setup.pool, clock);
  Runner runner(model, work, options, probe, setup.pool, clock);
  const auto say = [&](const std::string& what) {
    if (flags.progress)
      std::cerr << "fathom bench: " << model.given << ", " << name_of(model.matrix_type) << ", "
                << setup.threads << " threads: " << what << std::endl;
  };
  say("warming up");
  runner.warm_up();
  for (int r = 1; r <= flags.repetitions; ++r) {
    FATHOM_TRY(cancelled_if(stopped));
    say("repetition " + std::to_string(r) + " of " + std::to_string(flags.repetitions));
    runner.round();
  }
  if (flags.profile) {
    FATHOM_TRY(cancelled_if(stopped));
    say("profile");
    runner.profile();
  }
  ModelFacts facts = facts_of(flags, setup);
  facts.read_loop = runner.read_loop();
  facts.gemm_loop = runner.gemm_loop();
  for (const Measurement& m : runner.measurements()) emit(row_of(environment(), facts, m));
  return {};
}

Status run_serving(const Flags& flags, const Setup& setup, const Emit& emit) {
  FATHOM_ASSIGN(const ServingRun run, flags.serving->run(setup.model, flags.keys(), setup.numerics,
                                                         flags.chunk, setup.pool, flags.progress, stopped));
  emit(serving_row_of(environment(), facts_of(flags, setup), run));
  return cancelled_if(stopped);
}

Status run_model(const Flags& flags, const std::vector<Workload>& work, const std::string& name,
                 const MatrixChoice& matrices, int threads, const Emit& emit) {
  ThreadPool pool(threads);
  FATHOM_ASSIGN(const BenchModel model, open_bench_model(name, matrices, pool));
  FATHOM_ASSIGN(const Numerics numerics, flags.numeric.numerics(model.plan, model.matrix_type));
  const Setup setup{model, numerics, pool, threads};
  return flags.serving->given() ? run_serving(flags, setup, emit) : run_tests(flags, work, setup, emit);
}

Status run_models(const Flags& flags, const std::vector<Workload>& work, const Emit& emit) {
  for (const std::string& model : flags.models) {
    for (const std::string& dtype : flags.dtypes.empty() ? std::vector<std::string>{""} : flags.dtypes) {
      for (int threads : flags.threads) {
        FATHOM_TRY(cancelled_if(stopped));
        MatrixChoice matrices = matrix_choice(dtype, DType::kBF16);
        if (flags.group > 0) matrices.group = flags.group;
        FATHOM_TRY(run_model(flags, work, model, matrices, threads_or_all(threads), emit));
      }
    }
  }
  return {};
}

Format format_of(const std::string& word) {
  if (word == "csv") return Format::kCsv;
  if (word == "json") return Format::kJson;
  return word == "jsonl" ? Format::kJsonLines : Format::kMarkdown;
}

// What there is to measure without --requests, once flags fit together.
Result<std::vector<Workload>> checked_workloads(const Flags& flags) {
  std::vector<Workload> work = workloads(flags.prompts, flags.generations, flags.depths, flags.parallel);
  if (work.empty()) return wrong_usage("bench: -p 0 and -n 0 leave nothing to measure");
  if (flags.fill_given && std::ranges::all_of(flags.depths, [](int64_t depth) { return depth == 0; }))
    return wrong_usage("bench: --fill says how the state of a depth is made, but no -d above 0 was given");
  if (flags.group > 0 && std::ranges::find(flags.dtypes, "int4") == flags.dtypes.end())
    return wrong_usage("bench: --group is for --dtype int4");
  const bool many = std::ranges::any_of(flags.parallel, [](int64_t sequences) { return sequences > 1; });
  if (many && std::ranges::none_of(work, &Workload::decodes))
    return wrong_usage("bench: --n-parallel is about decoding, expected -n above 0");
  if (!flags.plot.empty()) {
    if (many) return wrong_usage("bench: --plot draws one sequence alone, expected --n-parallel 1");
    if (std::ranges::none_of(work, &Workload::decodes))
      return wrong_usage("bench: --plot draws decoding, expected -n above 0");
    FATHOM_TRY(check_output_folder(flags.plot));
  }
  return work;
}

Result<int> run(const Flags& flags) {
  FATHOM_TRY(flags.serving->check());
  const bool serving = flags.serving->given();
  std::vector<Workload> work;
  if (!serving) {
    FATHOM_ASSIGN(work, checked_workloads(flags));
  }
  catch_stop_signals(stopped, serving ? "what was measured so far is printed"
                                      : "what has not had all its repetitions is not printed");
  const Format format = format_of(flags.output);
  std::vector<Json> rows;
  const auto print = [&](const std::vector<Json>& some) {
    std::cout << (serving ? serving_text(some, format) : to_text(some, format)) << std::flush;
  };
  const Status measured = run_models(flags, work, [&](Json row) {
    rows.push_back(std::move(row));
    if (format == Format::kJsonLines) print({rows.back()});
  });
  // What was measured is printed whatever came after it.
  if (!rows.empty() && format != Format::kJsonLines) print(rows);
  if (!measured.ok() && measured.error().kind == ErrorKind::kCancelled) return kExitInterrupted;
  FATHOM_TRY(measured);
  if (!flags.plot.empty()) FATHOM_TRY(write_file_atomic(flags.plot, draw_depth_chart(rows)));
  return kExitOk;
}

}  // namespace

Action declare_bench(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  const CLI::Validator tokens = whole_number(0, kMostContext);
  app.add_option(
         "MODEL", flags->models,
         "model directories; or specifications (a TOML or JSON file, a built-in name) with random weights")
      ->required();
  app.add_option("--n-prompt,-p", flags->prompts, "tokens of a prefill; 0: none")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(tokens)
      ->capture_default_str();
  app.add_option("--n-gen,-n", flags->generations, "tokens decoded one by one, without sampling; 0: none")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(tokens)
      ->capture_default_str();
  app.add_option("--n-depth,-d", flags->depths, "tokens that the state holds before")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(tokens)
      ->capture_default_str();
  app.add_option("--n-parallel,--npl", flags->parallel,
                 "sequences that decode side by side, a token of each in a call")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(whole_number(1, kMostParallel))
      ->capture_default_str();
  app.add_option("--repetitions,-r", flags->repetitions, "of every test, visited in turn")
      ->check(whole_number(1, 10'000))
      ->capture_default_str();
  app.add_option("--threads,-t", flags->threads, "0: all cores")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(thread_count())
      ->capture_default_str();
  app.add_option(
         "--dtype", flags->dtypes,
         "of the matrices: f32, bf16, int8 or int4 (default: int4 or int8 if they are stored so, else bf16)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(matrix_type_words());
  add_group_flag(app, flags->group);
  app.add_option("--kv-type", flags->kv_type, "of the key-value cache")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  add_rounding_flags(app, flags->numeric);
  app.add_option("--chunk,-b", flags->chunk, "rows of a prefill per call")
      ->check(whole_number(1, kMostChunk))
      ->capture_default_str();
  CLI::Option* fill =
      app.add_option("--fill", flags->fill,
                     "how a depth is made: by a prefill, or at once from random keys and states")
          ->check(CLI::IsMember({"prefill", "random"}))
          ->capture_default_str();
  app.add_flag("--no-prefill-shortcut", flags->no_prefill_shortcut,
               "take every row of a prompt through every layer, to see what the shortcut saves");
  app.add_flag("--profile", flags->profile, "one more run of every test, with the time of each op");
  app.add_flag("--progress", flags->progress, "say on stderr what is being measured");
  app.add_option("--plot", flags->plot, "draw the time of a decoded token over the depths as an SVG file")
      ->check(not_empty());
  app.add_option("--output,-o", flags->output, "md, csv, json or jsonl")
      ->check(CLI::IsMember({"md", "csv", "json", "jsonl"}))
      ->capture_default_str();
  flags->serving.emplace(app);
  return [flags, fill]() -> Result<int> {
    flags->fill_given = fill->count() > 0;
    return run(*flags);
  };
}

}  // namespace fathom::cli
