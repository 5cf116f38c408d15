// fathom-train verify: the training half of one recorded case, as JSON for `fathom verify`.
#include <filesystem>
#include <iostream>
#include <memory>

#include "cli/train_commands.h"
#include "cli/verify/optimizer_case.h"
#include "cli/verify/train_half.h"
#include "cli/verify/training_case.h"

namespace fathom::cli {

namespace {

// A record of another form than its kind has throws, in the JSON library or where a tensor is looked up.
Status verify_half(const std::string& directory, const std::string& name,
                   const std::vector<std::string>& tolerance, verify::Report& report) try {
  FATHOM_ASSIGN(verify::ModelCase c, verify::open_model_case(directory, name));
  FATHOM_TRY(verify::apply_tolerance(tolerance, c.limits));
  report = verify::Report(name, c.limits);
  if (c.optimizer_steps()) return verify::verify_optimizer_steps(c, report);
  if (c.training_steps()) return verify::verify_training_steps(c, report);
  if (c.warmup_calls()) return verify::verify_warmup_calls(c, report);
  return verify::verify_in_trainer(c, report);
} catch (const std::exception& error) {
  return invalid(directory + ": " + error.what());
}

}  // namespace

Action declare_train_verify(CLI::App& app) {
  struct Flags {
    std::string directory;
    std::vector<std::string> tolerance;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  app.add_option("DIR", flags->directory, "directory of a recorded case")->required();
  app.add_option("--tolerance", flags->tolerance, "as fathom verify");
  app.add_flag("--json", flags->json, "print findings as JSON");
  return [flags]() -> Result<int> {
    const std::filesystem::path path = std::filesystem::path(flags->directory).lexically_normal();
    const std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
    verify::Report report(name, {});
    const Status status = verify_half(flags->directory, name, flags->tolerance, report);
    if (flags->json) {
      nlohmann::json json = report.to_json();
      if (!status.ok()) json["error"] = status.error().message;
      std::cout << json.dump() << "\n";
    } else {
      std::cout << report.case_name() << "\n" << report.to_text();
    }
    if (!status.ok()) return status.error();
    return report.ok() ? kExitOk : kExitFailure;
  };
}

}  // namespace fathom::cli
