// fathom init: a model directory with random weights, as training would start from.
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <iostream>
#include <memory>

#include "base/clock.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/figures.h"
#include "cli/flag_checks.h"
#include "cli/model_specs.h"
#include "cli/output_folder.h"
#include "cli/progress.h"
#include "cli/stop_signal.h"
#include "cli/text_codec.h"
#include "cli/threads_flag.h"
#include "io/atomic_directory.h"
#include "io/model_directory.h"
#include "plan/spec_io.h"
#include "plan/work.h"
#include "weights/fresh_weights.h"

namespace fathom::cli {

namespace {

namespace fs = std::filesystem;

std::atomic<bool> stopped{false};

struct Flags {
  std::string spec, plan, out, tokenizer, dtype = "bf16";
  bool has_spec = false, has_plan = false;
  uint64_t seed = 0;
  int threads = 0;
  bool quiet = false;
};

// The tokenizer's files, whose ids must be the model's.
Status copy_tokenizer(const std::string& source, const ModelPlan& plan, ModelDirectoryContent& content) {
  FATHOM_ASSIGN(const TextCodec codec, TextCodec::open(source));
  if (codec.is_bytes()) {
    // Nothing says bytes but the vocabulary.
    if (plan.dims.vocab_size == codec.vocab_size()) return {};
    return invalid(
        "--tokenizer bytes: a model directory without a tokenizer is one of bytes if its vocabulary "
        "has " +
        std::to_string(codec.vocab_size()) + " entries, this one's has " +
        std::to_string(plan.dims.vocab_size));
  }
  if (codec.vocab_size() > plan.dims.vocab_size) {
    return invalid("--tokenizer " + source + ": it has " + std::to_string(codec.vocab_size()) +
                   " ids, more than the model's vocabulary of " + std::to_string(plan.dims.vocab_size));
  }
  std::error_code ignored;
  const fs::path folder =
      fs::is_directory(source, ignored) ? fs::path(source) : fs::path(source).parent_path();
  std::vector<const char*> names(kTokenizerFiles.begin(), kTokenizerFiles.end());
  names.push_back("generation_config.json");
  for (const char* name : names) {
    const fs::path file = folder / name;
    if (!fs::exists(file, ignored)) continue;
    FATHOM_ASSIGN(std::string text, read_file(file.string()));
    content.files.emplace_back(name, std::move(text));
  }
  return {};
}

Result<int> run(const Flags& flags) {
  if (flags.has_spec && flags.has_plan) return wrong_usage("SPEC and --plan exclude each other");
  if (!flags.has_spec && !flags.has_plan)
    return wrong_usage("init needs SPEC, a file or the name of a built-in specification");
  FATHOM_TRY(check_not_there(flags.out));
  FATHOM_ASSIGN(const ModelSpec spec, find_spec(flags.has_spec ? flags.spec : flags.plan));
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
  const DType type = flags.dtype == "bf16" ? DType::kBF16 : DType::kF32;
  ModelDirectoryContent content;
  content.config = nlohmann::ordered_json::parse(write_config_json(plan.spec));
  if (!flags.tokenizer.empty()) FATHOM_TRY(copy_tokenizer(flags.tokenizer, plan, content));
  ThreadPool pool(threads_or_all(flags.threads));
  catch_stop_signals(stopped, "nothing is kept");
  const int64_t bytes = count_weight_bytes(plan, type);
  FATHOM_ASSIGN(AtomicDirectory directory, AtomicDirectory::begin(flags.out));
  FATHOM_TRY(directory.write_file("config.json", content.config.dump(2) + "\n"));
  for (const auto& [name, text] : content.files) FATHOM_TRY(directory.write_file(name, text));
  SteadyClock clock;
  Progress progress(flags.quiet, ::isatty(STDERR_FILENO) != 0, clock);
  progress.begin_bytes("weights", bytes);
  const Status status =
      write_fresh_weights(directory.path(), plan, flags.seed, type, pool, [&](uint64_t written) -> Status {
        progress.update(static_cast<int64_t>(written), "");
        return cancelled_if(stopped);
      });
  progress.end();
  if (stopped.load()) return kExitInterrupted;
  FATHOM_TRY(status);
  FATHOM_TRY(directory.commit());
  std::cout << flags.out << ": " << short_count(static_cast<double>(count_parameters(plan).unique))
            << " parameters, matrices in " << name_of(type) << ", " << short_count(static_cast<double>(bytes))
            << "B\n";
  return kExitOk;
}

}  // namespace

Action declare_init(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::Option* spec =
      app.add_option("SPEC", flags->spec, "a TOML or JSON file, or the name of a built-in specification");
  CLI::Option* plan = app.add_option("--plan", flags->plan, "SPEC, given as a flag");
  app.add_option("--out,-o", flags->out, "the directory to write")->required()->check(not_empty());
  app.add_option("--tokenizer", flags->tokenizer,
                 "folder with a tokenizer.json, or the file, which goes along; or bytes")
      ->check(not_empty());
  app.add_option("--dtype", flags->dtype, "of the matrices")
      ->check(CLI::IsMember({"bf16", "f32"}))
      ->capture_default_str();
  app.add_option("--seed", flags->seed, "the same seed gives the same weights")
      ->check(seed_number())
      ->capture_default_str();
  add_threads_flag(app, flags->threads);
  app.add_flag("--quiet,-q", flags->quiet, "no progress");
  return [flags, spec, plan] {
    flags->has_spec = spec->count() > 0;
    flags->has_plan = plan->count() > 0;
    return run(*flags);
  };
}

}  // namespace fathom::cli
