// memory_drill: resident memory of a long training run, early and late. Flat memory is a property of the
// loop: nothing may be kept per step.
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>

#include "tiny_recipe.h"
#include "train/loop.h"

namespace {

namespace fs = std::filesystem;

int64_t resident_bytes() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

class Watch final : public fathom::train::TrainObserver {
 public:
  Watch(int64_t early, int64_t late) : early_(early), late_(late) {}
  void on_step(const fathom::train::StepReport& report) override {
    if (report.step + 1 == early_) at_early = resident_bytes();
    if (report.step + 1 == late_) at_late = resident_bytes();
  }
  int64_t at_early = 0, at_late = 0;

 private:
  int64_t early_, late_;
};

}  // namespace

int main(int argc, char** argv) {
  using namespace fathom;
  std::string family = "vanilla";
  int64_t early = 500, steps = 5000, allowed = 1 << 20;
  CLI::App app{"Compares the resident memory of a training run early and late.", "memory_drill"};
  app.add_option("--family", family)->check(CLI::IsMember(testing::all_families()));
  app.add_option("--early", early, "steps before the first look");
  app.add_option("--steps", steps, "steps before the second");
  app.add_option("--allowed", allowed, "bytes of growth");
  CLI11_PARSE(app, argc, argv);

  const fs::path folder = fs::temp_directory_path() / ("fathom-memory-drill-" + std::to_string(::getpid()));
  const testing::TinyRecipe recipe(folder, family, "f32");
  Result<train::RunConfig> config = train::read_run_config(
      recipe.file().string(), {"train.steps=" + std::to_string(steps),
                               "train.save_every=" + std::to_string(std::max<int64_t>(1, steps / 20)),
                               "train.eval_every=50", "train.threads=1"});
  if (!config.ok()) {
    std::cerr << "memory_drill: " << config.error().message << "\n";
    return 1;
  }
  Watch watch(early, steps);
  const Status trained =
      train::run_training({.config = *config, .directory = (folder / "run").string(), .observers = {&watch}});
  fs::remove_all(folder);
  if (!trained.ok()) {
    std::cerr << "memory_drill: " << trained.error().message << "\n";
    return 1;
  }
  if (watch.at_early <= 0 || watch.at_late <= 0) {
    std::cerr << "memory_drill: no report of step " << (watch.at_early <= 0 ? early : steps)
              << ", or no resident memory in /proc/self/statm\n";
    return 1;
  }
  const int64_t growth = watch.at_late - watch.at_early;
  std::cout << family << ": " << watch.at_early / 1024 << " KiB after " << early << " steps, "
            << watch.at_late / 1024 << " KiB after " << steps << ", grown by " << growth / 1024 << " KiB\n";
  if (growth <= allowed) return 0;
  std::cerr << "memory_drill: more than the " << allowed / 1024 << " KiB allowed\n";
  return 1;
}
