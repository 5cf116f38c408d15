// fathom plot: learning curves of training runs as one SVG picture.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/flag_checks.h"
#include "cli/plot/run_curve.h"

namespace fathom::cli {

namespace {

using plot::ChartSettings;
using plot::Curve;
using plot::XKind;

struct Flags {
  std::vector<std::string> runs;
  std::string x = "step", y = "loss", log, title, out = "curves.svg";
  int64_t smooth = 0;
  std::vector<double> x_range, y_range;
};

struct XWord {
  const char* word;
  XKind kind;
  const char* name;
  plot::Unit unit;
};
constexpr XWord kXWords[] = {{"step", XKind::kStep, "steps", plot::Unit::kCount},
                             {"tokens", XKind::kTokens, "tokens", plot::Unit::kCount},
                             {"flops", XKind::kFlops, "training FLOPs", plot::Unit::kCount},
                             {"time", XKind::kTime, "time in steps", plot::Unit::kSeconds}};

// Runs of one name are told apart by their directories.
void name_apart(std::vector<Curve>& curves, const std::vector<std::string>& directories) {
  const std::vector<Curve> before = curves;
  for (size_t i = 0; i < curves.size(); ++i) {
    const auto same =
        std::ranges::count_if(before, [&](const Curve& other) { return other.name == before[i].name; });
    if (before[i].name.empty() || same > 1) {
      curves[i].name = std::filesystem::path(directories[i] + "/").parent_path().lexically_normal().string();
    }
  }
}

// A window that leaves some forty means along the longest curve.
int64_t smooth_for(const std::vector<Curve>& curves) {
  size_t longest = 0;
  for (const Curve& curve : curves) longest = std::max(longest, curve.points.size());
  return std::max<int64_t>(1, static_cast<int64_t>(longest) / 40);
}

Result<std::optional<plot::Range>> range_of(const char* flag, const std::vector<double>& ends, bool log) {
  if (ends.empty()) return std::optional<plot::Range>();
  if (ends.size() != 2 || !(ends[0] < ends[1]) || !std::isfinite(ends[1] - ends[0]))
    return wrong_usage(std::string(flag) + " takes two numbers, the lower first");
  if (log && ends[0] <= 0)
    return wrong_usage(std::string(flag) + " begins at or below 0 on a logarithmic axis");
  return std::optional<plot::Range>({ends[0], ends[1]});
}

Result<int> run(const Flags& flags) {
  const XWord& x = *std::ranges::find_if(kXWords, [&](const XWord& word) { return flags.x == word.word; });
  ChartSettings settings;
  settings.x_name = x.name;
  settings.x_unit = x.unit;
  settings.y_name = flags.y;
  settings.y_unit = flags.y.starts_with("tokens") ? plot::Unit::kCount : plot::Unit::kNumber;
  settings.marks_name = "validation";
  settings.log_x = flags.log == "x" || flags.log == "xy";
  settings.log_y = flags.log == "y" || flags.log == "xy";
  FATHOM_ASSIGN(settings.x_range, range_of("--x-range", flags.x_range, settings.log_x));
  FATHOM_ASSIGN(settings.y_range, range_of("--y-range", flags.y_range, settings.log_y));

  std::vector<Curve> curves;
  for (const std::string& directory : flags.runs) {
    FATHOM_ASSIGN(Curve curve, plot::read_run_curve(directory, x.kind, flags.y));
    curves.push_back(std::move(curve));
  }
  name_apart(curves, flags.runs);
  if (!plot::has_points(curves, settings))
    return invalid("there is no number above 0 to show on a logarithmic axis");
  settings.smooth = flags.smooth > 0 ? flags.smooth : smooth_for(curves);
  settings.title = flags.title.empty() ? flags.y + " over " + x.name : flags.title;
  const std::string picture = plot::draw_chart(curves, settings);
  if (flags.out == "-") {
    std::cout << picture;
  } else {
    FATHOM_TRY(write_file_atomic(flags.out, picture));
  }
  return kExitOk;
}

}  // namespace

Action declare_plot(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("RUN", flags->runs, "directories of training runs")->required();
  app.add_option("--x", flags->x,
                 "step, tokens, flops (training, 3 forward passes a token) or time (in steps)")
      ->check(CLI::IsMember({"step", "tokens", "flops", "time"}))
      ->capture_default_str();
  app.add_option("--y", flags->y,
                 "a number of metrics.jsonl, e.g. loss, nll, grad_norm, kept_1, tokens_per_second")
      ->capture_default_str();
  app.add_option("--smooth", flags->smooth,
                 "points that a mean is taken over; 1: none (default: 1/40 of the longest)")
      ->check(whole_number(1));
  app.add_option("--log", flags->log, "logarithmic axes: x, y or xy")->check(CLI::IsMember({"x", "y", "xy"}));
  app.add_option("--x-range", flags->x_range, "LOW HIGH: what is shown")->expected(2);
  app.add_option("--y-range", flags->y_range, "LOW HIGH: what is shown")->expected(2);
  app.add_option("--title", flags->title, "above the picture");
  app.add_option("--out,-o", flags->out, "the SVG file; - for standard output")
      ->check(not_empty())
      ->capture_default_str();
  return [flags] { return run(*flags); };
}

}  // namespace fathom::cli
