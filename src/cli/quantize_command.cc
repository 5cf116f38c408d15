// fathom quantize: a model directory with int8 or int4 matrices, and what that does to the model.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/figures.h"
#include "cli/flag_checks.h"
#include "cli/json_text.h"
#include "cli/loaded_model.h"
#include "cli/long_context.h"
#include "cli/numeric_flags.h"
#include "cli/output_folder.h"
#include "cli/pack_texts.h"
#include "cli/progress.h"
#include "cli/run_memory.h"
#include "cli/scratch_directory.h"
#include "cli/stop_signal.h"
#include "cli/threads_flag.h"
#include "eval/divergence.h"
#include "eval/sensitive_matrices.h"
#include "io/atomic_directory.h"
#include "io/model_directory.h"
#include "plan/matrix_types.h"
#include "plan/spec_io.h"
#include "plan/work.h"
#include "weights/quantised_checkpoint.h"
#include "weights/stored_matrix.h"

namespace fathom::cli {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::atomic<bool> stopped{false};

constexpr int64_t kSensitivityRows = 4;  // of the text, for each matrix

struct Flags {
  std::string model, out, dtype = "int8";
  std::vector<std::string> text;
  int64_t group = 0, sequence_length = 0, limit = 0;
  double bits = 0;
  int threads = 0;
  bool json = false, quiet = false;
};

Status copy_companions(const ModelDirectory& model, AtomicDirectory& directory) {
  std::vector<std::string> names = model.tokenizer_files();
  names.emplace_back("config.json");
  if (model.has("generation_config.json")) names.emplace_back("generation_config.json");
  for (const std::string& name : names) {
    FATHOM_ASSIGN(const std::string text, read_file(model.file(name)));
    FATHOM_TRY(directory.write_file(name, text));
  }
  return {};
}

std::string mebibytes(int64_t bytes) { return rounded(static_cast<double>(bytes) / (1 << 20), 1) + " MiB"; }

class Quantisation {
 public:
  explicit Quantisation(const Flags& flags)
      : flags_(flags),
        types_(matrix_type_named(flags.dtype), flags.group > 0 ? flags.group : kUsualGroup),
        pool_(threads_or_all(flags.threads)),
        progress_(flags.quiet, ::isatty(STDERR_FILENO) != 0, clock_) {}

  // What the work needs: the model's files, and the text in rows.
  Status open() {
    FATHOM_ASSIGN(path_, resolve_model(flags_.model));
    FATHOM_ASSIGN(const ModelSpec spec, load_spec(path_));
    FATHOM_ASSIGN(source_, open_model_source(spec, path_));
    return flags_.text.empty() ? Status() : pack();
  }

  // Which matrices stay int8 within --bits, from what the predictions lose where each alone is int4.
  Status choose() {
    if (quantised_type(*source_.files) != DType::kF32) return {};  // write() refuses it
    const int64_t parameters = count_parameters(source_.plan).unique;
    const auto bytes = static_cast<int64_t>(flags_.bits * static_cast<double>(parameters) / 8);
    if (const int64_t least = count_weight_bytes(source_.plan, types_); bytes < least) {
      return invalid("--bits " + rounded(flags_.bits, 2) + ": all of int4 takes " +
                     rounded(bits(least, parameters), 2) + " bits per weight, expected more");
    }
    FATHOM_ASSIGN(const std::vector<eval::Sensitivity> matrices,
                  eval::sensitivities(source_, types_, *rows_, std::min(kSensitivityRows, compared_rows()),
                                      packing_, pool_, [&](int64_t done, int64_t of) {
                                        if (done == 0) progress_.begin("sensitivity", of, "matrices");
                                        progress_.update(done, "");
                                        return cancelled_if(stopped);
                                      }));
    progress_.end();
    types_ = eval::with_int8(source_.plan, std::move(types_), matrices, bytes);
    return {};
  }

  // Writes the directory, complete or not at all.
  Status write() {
    FATHOM_ASSIGN(const ModelDirectory model, ModelDirectory::open(path_));
    FATHOM_ASSIGN(AtomicDirectory directory, AtomicDirectory::begin(flags_.out));
    FATHOM_TRY(copy_companions(model, directory));
    progress_.say(path_ + ": read in pieces, " + mebibytes(quantising_bytes(source_.plan)) +
                  " of memory at most beside the mapped file");
    progress_.begin_bytes("weights", count_weight_bytes(source_.plan, types_));
    FATHOM_ASSIGN(tensors_, write_quantised_weights(directory.path(), source_, types_, pool_,
                                                    [&](uint64_t written) -> Status {
                                                      progress_.update(static_cast<int64_t>(written), "");
                                                      return cancelled_if(stopped);
                                                    }));
    progress_.end();
    return directory.commit();
  }

  // Runs the model as it was and as it is now over the text.
  Status compare() {
    FATHOM_ASSIGN(const LoadedModel before,
                  load_model(path_, {.named = {}, .as_stored = true}, /*check_tensors=*/false, &pool_));
    FATHOM_ASSIGN(const LoadedModel after, load_model(flags_.out, {}));
    progress_.begin("text", compared_rows(), "rows");
    int64_t done = 0;
    FATHOM_ASSIGN(divergence_,
                  eval::compare_models({before.plan, *before.weights}, {after.plan, *after.weights}, *rows_,
                                       compared_rows(), packing_, DType::kF32, pool_,
                                       [&](const eval::Divergence& so_far) {
                                         progress_.update(++done, "mean " + rounded(so_far.mean(), 5));
                                         return cancelled_if(stopped);
                                       }));
    progress_.end();
    return {};
  }

  Json report() const {
    int64_t from = 0, to = 0;
    Json tensors = Json::array();
    for (const QuantisedTensor& tensor : tensors_) {
      from += tensor.bytes_from;
      to += tensor.bytes_to;
      tensors.push_back({{"name", tensor.name},
                         {"shape", tensor.shape},
                         {"from", name_of(tensor.from)},
                         {"to", name_of(tensor.to)},
                         {"group", tensor.group > 0 ? Json(tensor.group) : Json()},
                         {"bytes_from", tensor.bytes_from},
                         {"bytes_to", tensor.bytes_to},
                         {"relative_error", tensor.relative_error},
                         {"largest_error", tensor.largest_error}});
    }
    const int64_t parameters = count_parameters(source_.plan).unique;
    Json report = {{"model", path_},
                   {"out", flags_.out},
                   {"dtype", flags_.dtype},
                   {"group", types_ == DType::kI4 ? Json(types_.group) : Json()},
                   {"parameters", parameters},
                   {"bytes_from", from},
                   {"bytes_to", to},
                   {"bits_per_weight_from", bits(from, parameters)},
                   {"bits_per_weight", bits(to, parameters)},
                   {"tensors", std::move(tensors)}};
    if (divergence_) {
      const eval::Divergence& d = *divergence_;
      report["text"] = {{"rows", compared_rows()},
                        {"sequence_length", packing_.sequence_length},
                        {"predictions", d.predictions()},
                        {"kl_mean", d.mean()},
                        {"kl_p99", d.quantile(0.99)},
                        {"kl_max", d.quantile(1)},
                        {"top1_agreement", d.agreement()},
                        {"perplexity_from", d.reference_perplexity()},
                        {"perplexity", d.other_perplexity()},
                        {"perplexity_delta", d.other_perplexity() - d.reference_perplexity()}};
    }
    return report;
  }

 private:
  Status pack() {
    const auto& dims = source_.plan.dims;
    FATHOM_ASSIGN(const TextCodec codec, TextCodec::of_model(path_, dims.vocab_size));
    packing_.sequence_length =
        flags_.sequence_length > 0 ? flags_.sequence_length : std::min<int64_t>(2048, dims.max_positions);
    FATHOM_ASSIGN(ScratchDirectory scratch, ScratchDirectory::create("fathom-quantize"));
    FATHOM_ASSIGN(rows_, pack_texts(flags_.text, codec,
                                    {.text = {},
                                     .length = packing_.sequence_length + 1,
                                     .stride = packing_.sequence_length,
                                     .vocab_size = dims.vocab_size,
                                     .rows = flags_.limit,
                                     .threads = &pool_},
                                    scratch.path()));  // its files stay mapped
    // Before the directory is written: an executor of each model, with one state.
    const RunShape shape{.context = packing_.sequence_length,
                         .rows = std::min(eval::kComparedRows, packing_.sequence_length)};
    FATHOM_TRY(
        check_run_memory(path_, source_.plan, std::vector{shape, shape}, DType::kF32, "--sequence-length"));
    say_if_beyond_longest("quantize", "--sequence-length", packing_.sequence_length, source_.plan);
    return {};
  }

  int64_t compared_rows() const {
    return flags_.limit > 0 ? std::min(flags_.limit, rows_->rows()) : rows_->rows();
  }

  static double bits(int64_t bytes, int64_t parameters) {
    return 8 * static_cast<double>(bytes) / static_cast<double>(parameters);
  }

  const Flags& flags_;
  MatrixTypes types_;
  SteadyClock clock_;
  ThreadPool pool_;
  Progress progress_;
  std::string path_;
  ModelSource source_;
  std::vector<QuantisedTensor> tensors_;
  eval::PackedSettings packing_;
  std::optional<PackedRows> rows_;  // where there is a text
  std::optional<eval::Divergence> divergence_;
};

std::string number(const Json& value, int digits) { return rounded(value.get<double>(), digits); }

void print_sizes(const Json& report) {
  size_t width = 0;
  for (const Json& tensor : report["tensors"])
    width = std::max(width, tensor["name"].get_ref<const std::string&>().size());
  std::cout << "error: root mean square over that of the values; largest over the largest value\n";
  for (const Json& tensor : report["tensors"]) {
    if (tensor["to"] != "int8" && tensor["to"] != "int4") continue;
    const auto& name = tensor["name"].get_ref<const std::string&>();
    std::cout << name << std::string(width - name.size(), ' ') << "  " << tensor["from"].get<std::string>()
              << " -> " << tensor["to"].get<std::string>() << "  " << number(tensor["relative_error"], 5)
              << "  " << number(tensor["largest_error"], 5) << "\n";
  }
  std::cout << report["out"].get<std::string>() << ": " << mebibytes(report["bytes_from"].get<int64_t>())
            << " -> " << mebibytes(report["bytes_to"].get<int64_t>()) << ", "
            << number(report["bits_per_weight_from"], 2) << " -> " << number(report["bits_per_weight"], 2)
            << " bits per weight\n"
            << std::flush;
}

void print_text(const Json& text) {
  std::cout << text["predictions"] << " predictions in " << text["rows"] << " rows of "
            << text["sequence_length"] << " tokens: divergence mean " << number(text["kl_mean"], 6)
            << ", p99 " << number(text["kl_p99"], 6) << ", max " << number(text["kl_max"], 6)
            << " nats; same most probable token " << rounded(100 * text["top1_agreement"].get<double>(), 2)
            << " %; perplexity " << number(text["perplexity_from"], 4) << " -> "
            << number(text["perplexity"], 4) << " ("
            << (text["perplexity_delta"].get<double>() < 0 ? "" : "+") << number(text["perplexity_delta"], 4)
            << ")\n";
}

Result<int> run(const Flags& flags) {
  const std::pair<const char*, bool> for_text[] = {{"--sequence-length", flags.sequence_length > 0},
                                                   {"--limit", flags.limit > 0}};
  for (const auto& [flag, given] : for_text) {
    if (given && flags.text.empty()) return wrong_usage(std::string(flag) + " is for --text");
  }
  if (flags.group > 0 && flags.dtype != "int4") return wrong_usage("--group is for --dtype int4");
  if (flags.bits > 0 && (flags.dtype != "int4" || flags.text.empty()))
    return wrong_usage("--bits is for --dtype int4 with a --text that shows which matrices stay int8");
  FATHOM_TRY(check_not_there(flags.out));
  catch_stop_signals(stopped, "a directory that is not complete is not kept");
  Quantisation quantisation(flags);
  FATHOM_TRY(quantisation.open());
  const Status chosen = flags.bits > 0 ? quantisation.choose() : Status();
  if (stopped.load()) return kExitInterrupted;
  FATHOM_TRY(chosen);
  const Status written = quantisation.write();
  if (stopped.load()) return kExitInterrupted;
  FATHOM_TRY(written);
  if (!flags.json) print_sizes(quantisation.report());
  const Status compared = flags.text.empty() ? Status() : quantisation.compare();
  const Json report = quantisation.report();
  if (flags.json) {
    std::cout << json_text(report, 2) << "\n";
  } else if (report.contains("text")) {
    print_text(report["text"]);
  }
  if (stopped.load()) return kExitInterrupted;
  FATHOM_TRY(compared);
  return kExitOk;
}

}  // namespace

Action declare_quantize(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("MODEL", flags->model, "model directory, or the directory of a run")->required();
  app.add_option("--out,-o", flags->out, "the directory to write")->required()->check(not_empty());
  app.add_option("--dtype", flags->dtype, "of the matrices")
      ->check(CLI::IsMember({"int8", "int4"}))
      ->capture_default_str();
  add_group_flag(app, flags->group);
  app.add_option("--bits", flags->bits,
                 "bits per weight, within which the matrices of --dtype int4 that cost --text most stay int8")
      ->check(CLI::Range(1.0, 32.0));
  app.add_option(
         "--text", flags->text,
         "text or token file or folder on which both models are compared; may be given more than once")
      ->allow_extra_args(false);
  app.add_option("--sequence-length", flags->sequence_length,
                 "tokens of a packed row of --text (default: the model's longest, 2048 at most)")
      ->check(whole_number(1, kMostContext));
  app.add_option("--limit,-L", flags->limit, "packed rows of --text at most (default: all)")
      ->check(whole_number(1));
  add_threads_flag(app, flags->threads);
  app.add_flag("--json", flags->json, "print the report as JSON");
  app.add_flag("--quiet", flags->quiet, "no progress");
  return [flags] { return run(*flags); };
}

}  // namespace fathom::cli
