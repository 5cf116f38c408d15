// fathom verify: recorded cases of the published code through the kernels, the engine and the trainer.
#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <set>

#include "base/json.h"
#include "base/machine_limits.h"
#include "base/parallel.h"
#include "cli/commands.h"
#include "cli/stop_signal.h"
#include "cli/trainer_process.h"
#include "cli/verify/case_kinds.h"
#include "cli/verify/model_case.h"

namespace fathom::cli {

namespace {

using verify::Report;

std::atomic<bool> stopped{false};

struct Flags {
  std::vector<std::string> directories, tolerance;
  std::string only;
  bool json = false;
};

std::string case_name(const std::string& directory) {
  std::filesystem::path path = std::filesystem::path(directory).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

bool is_case(const std::string& directory) {
  return std::filesystem::exists(directory + "/case.json") ||
         verify::find_case_kind(case_name(directory)) != nullptr;
}

// `path` where it is a case, else the cases that lie in it, by name.
Result<std::vector<std::string>> cases_of(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return invalid(path + ": no such directory");
  if (is_case(path)) return std::vector<std::string>{path};
  std::vector<std::string> cases;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    if (entry.is_directory(error) && is_case(entry.path().string())) cases.push_back(entry.path().string());
  }
  if (cases.empty()) return invalid(path + ": neither a recorded case (no case.json) nor a folder of cases");
  std::ranges::sort(cases);
  return cases;
}

// The training half, as a process.
Status verify_in_trainer(const std::string& directory, const Flags& flags, Report& report) {
  FATHOM_ASSIGN(const std::string trainer, find_trainer());
  std::vector<std::string> arguments = {"verify", directory, "--json"};
  for (const std::string& tolerance : flags.tolerance) arguments.push_back("--tolerance=" + tolerance);
  FATHOM_ASSIGN(const ProcessOutput output, run_trainer(trainer, arguments));
  // While it runs Ctrl-C is its alone.
  if (output.exit_code == kExitInterrupted) return make_error("stopped", ErrorKind::kCancelled);
  FATHOM_ASSIGN(const nlohmann::json json, parse_json(output.text));
  if (json.contains("error")) {
    const std::string message = json["error"].get<std::string>();
    return output.exit_code == kExitNotSupported ? not_supported(message) : invalid(message);
  }
  return report.add_json(json);
}

Status verify_model(const verify::CaseRequest& request, const Flags& flags, Report& report,
                    Parallel& parallel) {
  const std::string& directory = request.directory;
  FATHOM_ASSIGN(verify::ModelCase c, verify::open_model_case(directory, request.name));
  FATHOM_TRY(verify::apply_tolerance(flags.tolerance, c.limits));
  report = Report(request.name, c.limits);
  FATHOM_TRY(verify::verify_checkpoint_files(c, report));
  // Decoding alone is recorded without losses and gradients.
  const bool for_trainer =
      c.training_steps() || c.warmup_calls() || !c.io.has("prefill.logits") ||
      std::ranges::any_of(c.io.all(), [](const auto& t) { return verify::belongs_to_training(t.first); });
  if (flags.only == "engine" && c.training_steps())
    return wrong_usage(directory +
                       ": recorded training steps are the trainer's; --only engine leaves nothing");
  if (flags.only == "train" && !for_trainer)
    return wrong_usage(directory + ": decoding is the engine's; --only train leaves nothing");
  if (flags.only != "train" && !c.training_steps()) {
    FATHOM_TRY(verify::verify_in_engine(c, report, parallel));
    FATHOM_TRY(verify::verify_probe(c, report, parallel));
    for (const std::string& tensor : c.io.unseen()) {
      if (!verify::belongs_to_training(tensor)) {
        return invalid(directory + "/io.safetensors: unknown tensor " + tensor);
      }
    }
  }
  if (flags.only != "engine" && for_trainer) FATHOM_TRY(verify_in_trainer(directory, flags, report));
  return {};
}

// A record of another form than its kind has throws, in the JSON library or where a tensor is looked up: the
// error of that case, and not the end of the others.
Status verify_case(const std::string& directory, const Flags& flags, Report& report, Parallel& parallel) try {
  const verify::CaseRequest request{directory, case_name(directory), flags.tolerance};
  const verify::CaseKind* kind = verify::find_case_kind(request.name);
  if (kind == nullptr || kind->whole_model) FATHOM_TRY(verify_model(request, flags, report, parallel));
  return kind == nullptr ? Status() : kind->verify(request, report, parallel);
} catch (const std::exception& error) {
  return invalid(directory + ": " + error.what());
}

Result<int> run(const Flags& flags) {
  verify::Limits unused;
  FATHOM_TRY(verify::apply_tolerance(flags.tolerance, unused));
  std::vector<std::string> directories;
  std::set<std::string> found_in_folders;
  for (const std::string& path : flags.directories) {
    FATHOM_ASSIGN(const std::vector<std::string> cases, cases_of(path));
    directories.insert(directories.end(), cases.begin(), cases.end());
    if (!is_case(path)) found_in_folders.insert(cases.begin(), cases.end());
  }
  catch_stop_signals(stopped, "no further case begins");
  ThreadPool pool(available_cores());
  nlohmann::json all = nlohmann::json::array();
  int passed = 0, failed = 0, unsupported = 0, left_out = 0;
  bool no_trainer = false, cut_short = false;
  for (const std::string& directory : directories) {
    cut_short = stopped.load();
    if (cut_short) break;
    Report report(case_name(directory), {});
    const Status status = verify_case(directory, flags, report, pool);
    cut_short = !status.ok() && status.error().kind == ErrorKind::kCancelled;
    if (cut_short) break;
    const bool ok = status.ok() && report.ok();
    const bool not_yet = !status.ok() && status.error().kind == ErrorKind::kNotSupported;
    // Of a folder, cases that have nothing for the half that is asked for are none of those meant.
    const bool not_meant =
        !status.ok() && status.error().kind == ErrorKind::kUsage && found_in_folders.contains(directory);
    no_trainer |= !status.ok() && status.error().message.starts_with("fathom-train is not beside");
    passed += ok ? 1 : 0;
    unsupported += not_yet ? 1 : 0;
    left_out += not_meant ? 1 : 0;
    failed += ok || not_yet || not_meant ? 0 : 1;
    if (flags.json) {
      nlohmann::json entry = report.to_json();
      entry["ok"] = ok;
      if (!status.ok()) entry["error"] = status.error().message;
      all.push_back(std::move(entry));
      continue;
    }
    std::cout << report.case_name() << "\n" << report.to_text();
    if (!status.ok()) std::cout << "  " << status.error().message << "\n";
    if (status.ok()) std::cout << "  " << (ok ? "passed" : "FAILED") << "\n";
  }
  if (flags.json) {
    std::cout << all.dump(1) << "\n";
  } else {
    std::cout << passed << " passed, " << failed << " failed, " << unsupported << " not supported yet";
    if (left_out > 0) std::cout << ", " << left_out << " without anything for --only " << flags.only;
    if (cut_short) std::cout << ", stopped before the others";
    std::cout << "\n";
  }
  if (cut_short) return kExitInterrupted;
  if (no_trainer) return kExitNoTrainer;
  if (failed > 0) return kExitFailure;
  return unsupported > 0 ? kExitNotSupported : kExitOk;
}

}  // namespace

Action declare_verify(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("DIR", flags->directories, "recorded cases, or folders of them")->required();
  app.add_option(
      "--tolerance", flags->tolerance,
      "X for every limit, or NAME=X for logits, losses, gradients, states, modules, parameters or gates");
  app.add_option("--only", flags->only, "run one half: engine or train")
      ->check(CLI::IsMember({"engine", "train"}));
  app.add_flag("--json", flags->json, "print findings as JSON");
  return [flags] { return run(*flags); };
}

}  // namespace fathom::cli
