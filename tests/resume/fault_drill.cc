// fault_drill: makes single operations of training runs fail, or the disk stay full from one on. Each run
// must end with one sentence that names a path and the reason, show nothing half written, and go on, once the
// trouble is over, to what an undisturbed run leaves behind.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>

#include "forked_run.h"
#include "run_directory.h"
#include "tiny_recipe.h"

namespace {

namespace fs = std::filesystem;
using namespace fathom::testing;
using fathom::FileOp;
using fathom::FileOutcome;

struct Flags {
  std::vector<std::string> families = fathom::testing::families();
  int64_t points = 0;
  fs::path folder;
};

// What goes wrong at an operation and after it.
struct Trouble {
  const char* name;
  int error;
  bool lasts;   // every later operation that takes room fails as well
  bool begins;  // a write moves some bytes before it fails
};

constexpr Trouble kTroubles[] = {{"a bad sector", EIO, false, false},
                                 {"a moment without room", ENOSPC, false, false},
                                 {"a full disk", ENOSPC, true, false},
                                 {"a disk that fills during a write", ENOSPC, true, true}};

bool takes_room(FileOp op) {
  return op == FileOp::kOpen || op == FileOp::kWrite || op == FileOp::kMkdir || op == FileOp::kFsync;
}

Fault fault_at(int64_t number, const Trouble& trouble) {
  return [number, trouble, begun = false](int64_t at, const Operation& operation) mutable -> FileOutcome {
    if (at < number) return 0;
    if (at == number && trouble.begins && operation.kind == FileOp::kWrite) return FileOutcome::shortened(3);
    if (at == number || (at == number + 1 && trouble.begins)) return trouble.error;
    return trouble.lasts && takes_room(operation.kind) ? trouble.error : 0;
  };
}

bool is_one_sentence(const std::string& text, const fs::path& folder, int error) {
  return text.starts_with("fathom-train: ") && std::count(text.begin(), text.end(), '\n') == 1 &&
         text.back() == '\n' && text.find(folder.string()) != std::string::npos &&
         text.find(std::strerror(error)) != std::string::npos;
}

class Drill {
 public:
  Drill(const Flags& flags, const std::string& family)
      : flags_(flags),
        recipe_(flags.folder / family, family, "f32"),
        whole_(flags.folder / family / "whole"),
        all_(flags.folder / family / "all"),
        run_(flags.folder / family / "run") {}

  bool run() {
    const ForkedRun whole = run_forked(recipe_.arguments(whole_));
    if (whole.exit_code != 0) return fail("the undisturbed run", whole.text);
    operations_ = whole.operations;
    // The checkpoints hold which checkpoints are kept nowhere but in the recipe.
    if (!keep_all()) return false;
    return short_transfers() && every_trouble();
  }
  int64_t cases() const { return cases_; }
  size_t operations() const { return operations_.size(); }

 private:
  // Every checkpoint as an undisturbed run makes it: copies, taken before each is pruned.
  bool keep_all() {
    fs::remove_all(run_);
    fs::create_directories(all_);
    const fs::path run = run_, all = all_;
    const ForkedRun kept =
        run_forked(recipe_.arguments(run_), [run, all](int64_t, const Operation& operation) {
          if (operation.kind == FileOp::kRename) {
            for (const auto& entry : fs::directory_iterator(run)) {
              const std::string name = entry.path().filename().string();
              const bool is_checkpoint =
                  name.starts_with("checkpoint-") && name.find(".tmp-") == std::string::npos;
              if (is_checkpoint && !fs::exists(all / name))
                fs::copy(entry.path(), all / name, fs::copy_options::recursive);
            }
          }
          return FileOutcome();
        });
    if (kept.exit_code != 0) return fail("the run that keeps all", kept.text);
    for (const auto& entry : fs::directory_iterator(whole_)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("checkpoint-") && !fs::exists(all_ / name)) {
        fs::copy(entry.path(), all_ / name, fs::copy_options::recursive);
      }
    }
    const auto difference = difference_of_checkpoints(whole_, all_);
    return difference ? fail("two undisturbed runs", *difference) : true;
  }

  // The system may move fewer bytes than asked at any time.
  bool short_transfers() {
    fs::remove_all(run_);
    const ForkedRun slow = run_forked(recipe_.arguments(run_), [](int64_t at, const Operation&) {
      return FileOutcome::shortened(static_cast<size_t>(997 + at % 89));
    });
    ++cases_;
    if (slow.exit_code != 0) return fail("short writes and reads", slow.text);
    const auto difference = difference_of_runs(run_, whole_);
    return difference ? fail("short writes and reads", *difference) : true;
  }

  bool every_trouble() {
    const auto total = static_cast<int64_t>(operations_.size());
    const int64_t points = flags_.points == 0 ? total : std::min(total, flags_.points);
    for (int64_t i = 0; i < points; ++i) {
      const int64_t number = total * (2 * i + 1) / (2 * points);
      const bool all = flags_.points == 0;
      for (size_t t = 0; t < std::size(kTroubles); ++t) {
        if (!all && static_cast<int64_t>(t) != i % static_cast<int64_t>(std::size(kTroubles))) continue;
        if (!try_trouble(number, kTroubles[t])) return false;
      }
    }
    return true;
  }

  bool try_trouble(int64_t number, const Trouble& trouble) {
    const Operation& operation = operations_[static_cast<size_t>(number)];
    const std::string where =
        std::string(trouble.name) + " at operation " + std::to_string(number) + ", " + to_string(operation);
    fs::remove_all(run_);
    const ForkedRun disturbed = run_forked(recipe_.arguments(run_), fault_at(number, trouble));
    ++cases_;
    if (operation.kind == FileOp::kLock && !trouble.lasts) {
      // Without locks a run goes on, and says so if it is its own; the operations are those of the whole run.
      const bool is_said = disturbed.text.find("cannot be locked") != std::string::npos;
      if (disturbed.exit_code != 0 || is_said != (operation.path == whole_.string()))
        return fail(where, disturbed.text);
    } else if (operation.kind == FileOp::kLock) {
      if (disturbed.exit_code != 1) return fail(where, disturbed.text);
    } else if (disturbed.exit_code != 1 || !is_one_sentence(disturbed.text, flags_.folder, trouble.error)) {
      return fail(where + ": exit code " + std::to_string(disturbed.exit_code), disturbed.text);
    }
    if (const auto difference = difference_of_checkpoints(run_, all_)) return fail(where, *difference);
    const ForkedRun resumed = run_forked(recipe_.arguments(run_, {"--resume"}));
    if (resumed.exit_code != 0) return fail(where + ": does not resume", resumed.text);
    const auto difference = difference_of_runs(run_, whole_);
    return difference ? fail(where + ", resumed", *difference) : true;
  }

  bool fail(const std::string& where, const std::string& what) const {
    std::cerr << "fault_drill: " << where << ": " << what << "\nleft in " << run_.string() << "\n";
    return false;
  }

  const Flags& flags_;
  TinyRecipe recipe_;
  fs::path whole_, all_, run_;
  std::vector<Operation> operations_;
  int64_t cases_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app{"Makes file operations of training runs fail.", "fault_drill"};
  app.add_option("--family", flags.families, "a family of models; vanilla, mor and sambay if not given")
      ->check(CLI::IsMember(all_families()));
  app.add_option("--points", flags.points,
                 "operations that fail, spread evenly, in one way each; 0: all, in every way");
  CLI11_PARSE(app, argc, argv);
  flags.folder = fs::temp_directory_path() / ("fathom-fault-drill-" + std::to_string(::getpid()));
  for (const std::string& family : flags.families) {
    Drill drill(flags, family);
    if (!drill.run()) return 1;
    std::cout << family << ": " << drill.cases() << " faults over " << drill.operations()
              << " operations, each one sentence, nothing half visible, resumed to an equal run\n"
              << std::flush;
  }
  fs::remove_all(flags.folder);
  return 0;
}
