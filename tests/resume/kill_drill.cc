// kill_drill: kills training runs, resumes them, and compares what they leave behind with an uninterrupted
// run: every number of the logs and every byte of the checkpoints.
//
// Points are operations of the file seam (each open, write, flush, close, rename, removal of a run), tried
// before they happen and, for writes, halfway. Moments are times. A resumed run may be killed again.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <random>

#include "base/clock.h"
#include "forked_run.h"
#include "run_directory.h"
#include "tiny_recipe.h"

namespace {

namespace fs = std::filesystem;
using namespace fathom::testing;

struct Flags {
  std::vector<std::string> families = fathom::testing::families();
  std::string precision = "f32";
  int64_t points = 0;  // 0: all
  int64_t moments = 50;
  uint64_t seed = 1;
  std::string part = "1/1";
  fs::path folder;
};

struct Figures {
  int64_t points = 0, moments = 0, deaths = 0, finished = 0;
};

class Drill {
 public:
  Drill(const Flags& flags, const std::string& family)
      : flags_(flags),
        recipe_(flags.folder / family, family, flags.precision),
        whole_(flags.folder / family / "whole"),
        run_(flags.folder / family / "run"),
        random_(flags.seed) {}

  // False, with a sentence on stderr, at the first run that is not what it should be.
  bool run(int64_t part, int64_t parts) {
    fathom::SteadyClock clock;
    const double begin = clock.seconds();
    const ForkedRun whole = run_forked(recipe_.arguments(whole_));
    duration_ = clock.seconds() - begin;
    if (whole.exit_code != 0) return fail("the uninterrupted run", whole.text);
    operations_ = whole.operations;
    const std::vector<Point> points = chosen_points();
    for (size_t i = 0; i < points.size(); ++i) {
      if (static_cast<int64_t>(i) % parts == part && !try_point(points[i])) return false;
    }
    for (int64_t i = 0; i < flags_.moments; ++i) {
      if (i % parts == part && !try_moment()) return false;
    }
    return true;
  }

  const Figures& figures() const { return figures_; }
  size_t operations() const { return operations_.size(); }

 private:
  struct Point {
    int64_t number = 0;
    bool torn = false;
  };

  std::vector<Point> chosen_points() const {
    std::vector<Point> all;
    for (size_t i = 0; i < operations_.size(); ++i) {
      all.push_back({static_cast<int64_t>(i), false});
      if (operations_[i].kind == fathom::FileOp::kWrite) all.push_back({static_cast<int64_t>(i), true});
    }
    if (flags_.points == 0 || flags_.points >= static_cast<int64_t>(all.size())) return all;
    std::vector<Point> some;  // spread evenly
    for (int64_t i = 0; i < flags_.points; ++i) {
      some.push_back(
          all[all.size() * static_cast<size_t>(2 * i + 1) / static_cast<size_t>(2 * flags_.points)]);
    }
    return some;
  }

  bool try_point(const Point& point) {
    const Operation& operation = operations_[static_cast<size_t>(point.number)];
    const std::string where = "operation " + std::to_string(point.number) + (point.torn ? " (torn)" : "") +
                              ", " + to_string(operation);
    fs::remove_all(run_);
    const ForkedRun killed = run_forked(recipe_.arguments(run_), die_at(point.number, point.torn));
    if (!killed.killed) return fail(where + ": was not killed", killed.text);
    ++figures_.points;
    ++figures_.deaths;
    return recover(where);
  }

  bool try_moment() {
    // A run that ends before its moment is no case; what it took then is how long runs take now.
    for (;;) {
      fs::remove_all(run_);
      const double moment = std::uniform_real_distribution<>(0, duration_)(random_);
      const ForkedRun killed = run_forked_for(moment, recipe_.arguments(run_));
      if (!killed.killed) {
        ++figures_.finished;
        duration_ = std::max(0.01, 0.9 * duration_);
        continue;
      }
      duration_ *= 1.02;
      ++figures_.moments;
      ++figures_.deaths;
      return recover("after " + std::to_string(moment) + " s");
    }
  }

  // Resumes, dying again in one case out of three, until the end.
  bool recover(const std::string& where) {
    for (int lives = 1;; ++lives) {
      const bool dies_again = lives <= 3 && random_() % 3 == 0;
      const auto number = static_cast<int64_t>(random_() % operations_.size());
      const ForkedRun resumed = run_forked(recipe_.arguments(run_, {"--resume"}),
                                           dies_again ? die_at(number, random_() % 2 == 0) : Fault());
      if (dies_again && resumed.killed) {
        ++figures_.deaths;
        continue;
      }
      if (resumed.exit_code != 0) return fail(where + ": does not resume", resumed.text);
      if (!resumed.text.empty()) return fail(where + ": resumes with complaints", resumed.text);
      const auto difference = difference_of_runs(run_, whole_);
      return difference ? fail(where, *difference) : true;
    }
  }

  bool fail(const std::string& where, const std::string& what) const {
    std::cerr << "kill_drill: " << where << ": " << what << "\nleft in " << run_.string() << "\n";
    return false;
  }

  const Flags& flags_;
  TinyRecipe recipe_;
  fs::path whole_, run_;
  std::mt19937_64 random_;
  double duration_ = 0;
  std::vector<Operation> operations_;
  Figures figures_;
};

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app{"Kills training runs, resumes them, compares them with an uninterrupted one.", "kill_drill"};
  app.add_option("--family", flags.families, "a family of models; vanilla, mor and sambay if not given")
      ->check(CLI::IsMember(all_families()));
  app.add_option("--precision", flags.precision)->check(CLI::IsMember({"f32", "f32-double-sums", "bf16"}));
  app.add_option("--points", flags.points, "operations to die at, spread evenly; 0: all");
  app.add_option("--moments", flags.moments, "times to die at");
  app.add_option("--seed", flags.seed, "of moments and of second deaths");
  app.add_option("--part", flags.part, "I/N: every Nth case, from the Ith");
  CLI11_PARSE(app, argc, argv);
  int64_t part = 0, parts = 0;
  if (std::sscanf(flags.part.c_str(), "%ld/%ld", &part, &parts) != 2 || part < 1 || part > parts) {
    std::cerr << "kill_drill: --part is " << flags.part << ", expected I/N\n";
    return 2;
  }
  flags.folder = fs::temp_directory_path() / ("fathom-kill-drill-" + std::to_string(::getpid()));
  for (const std::string& family : flags.families) {
    Drill drill(flags, family);
    if (!drill.run(part - 1, parts)) return 1;
    const Figures& figures = drill.figures();
    if (figures.points + figures.moments == 0) {
      std::cerr << "kill_drill: no case\n";
      return 1;
    }
    std::cout << family << " " << flags.precision << ": " << figures.points << " deaths at "
              << drill.operations() << " operations, before and half way through each write, "
              << figures.moments << " at moments, " << figures.deaths
              << " with those of resumed runs; every run in the end equal to the uninterrupted one\n"
              << std::flush;
  }
  fs::remove_all(flags.folder);
  return 0;
}
