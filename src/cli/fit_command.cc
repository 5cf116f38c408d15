// fathom fit: scaling laws through the ends of training runs, or through points of a file.
#include <algorithm>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/flag_checks.h"
#include "cli/json_text.h"
#include "cli/output_folder.h"
#include "cli/plot/law_points.h"
#include "cli/plot/power_law.h"
#include "cli/plot/run_curve.h"

namespace fathom::cli {

namespace {

using plot::Curve;
using plot::LawFit;

struct Flags {
  std::vector<std::string> runs;
  std::string points, x = "flops", name = "runs", title = "L(D) = A D^-b + C", out;
  double most_exponent = plot::kMostExponent;
  bool json = false;
};

// The last validation loss of each run.
Result<Curve> ends_of_runs(const Flags& flags) {
  Curve curve{.name = flags.name, .points = {}, .marks = {}};
  const plot::XKind x = flags.x == "tokens" ? plot::XKind::kTokens : plot::XKind::kFlops;
  for (const std::string& directory : flags.runs) {
    FATHOM_ASSIGN(const Curve run, plot::read_run_curve(directory, x, "loss"));
    if (run.marks.empty())
      return invalid(directory + ": the run has no evaluation, expected one to take its loss from");
    curve.marks.push_back(run.marks.back());
  }
  std::ranges::stable_sort(curve.marks, {}, &plot::Point::x);
  return curve;
}

// The law as a line through the range of its points, equally spaced on a logarithmic axis.
void draw_law(const LawFit& fit, Curve& curve) {
  constexpr int kPieces = 100;
  const double low = std::log(curve.marks.front().x), high = std::log(curve.marks.back().x);
  for (int i = 0; i <= kPieces; ++i) {
    const double x = std::exp(low + (high - low) * i / kPieces);
    curve.points.push_back({x, fit.law.at(x)});
  }
}

std::string table(const std::vector<Curve>& curves, const std::vector<LawFit>& fits) {
  std::ostringstream out;
  size_t width = 6;
  for (const Curve& curve : curves) width = std::max(width, curve.name.size());
  out << std::left << std::setw(static_cast<int>(width)) << "series" << std::right << std::setw(8) << "points"
      << std::setw(14) << "A" << std::setw(10) << "b" << std::setw(10) << "C" << std::setw(10) << "R^2"
      << std::setw(16) << "sum of squares"
      << "\n";
  for (size_t i = 0; i < curves.size(); ++i) {
    const LawFit& fit = fits[i];
    out << std::left << std::setw(static_cast<int>(width)) << curves[i].name << std::right << std::setw(8)
        << curves[i].marks.size() << std::setprecision(6) << std::defaultfloat << std::setw(14) << fit.law.a
        << std::fixed << std::setprecision(4) << std::setw(10) << fit.law.b << std::setw(10) << fit.law.c
        << std::setprecision(5) << std::setw(10) << fit.r2 << std::scientific << std::setprecision(3)
        << std::setw(16) << fit.sum_of_squares << "\n";
  }
  return out.str();
}

nlohmann::ordered_json to_json(const std::vector<Curve>& curves, const std::vector<LawFit>& fits) {
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (size_t i = 0; i < curves.size(); ++i) {
    out.push_back({{"series", curves[i].name},
                   {"points", curves[i].marks.size()},
                   {"A", fits[i].law.a},
                   {"b", fits[i].law.b},
                   {"C", fits[i].law.c},
                   {"r2", fits[i].r2},
                   {"sum_of_squares", fits[i].sum_of_squares}});
  }
  return out;
}

Result<int> run(const Flags& flags) {
  if (flags.runs.empty() && flags.points.empty()) return wrong_usage("fit needs runs or --points");
  if (!flags.out.empty()) FATHOM_TRY(check_output_folder(flags.out));
  std::vector<Curve> curves;
  if (!flags.points.empty()) {
    FATHOM_ASSIGN(curves, plot::read_law_points(flags.points));
  } else {
    FATHOM_ASSIGN(Curve ends, ends_of_runs(flags));
    curves.push_back(std::move(ends));
  }
  std::vector<LawFit> fits;
  for (Curve& curve : curves) {
    const Result<LawFit> fit = plot::fit_power_law(curve.marks, flags.most_exponent);
    if (!fit.ok()) return at(curve.name, fit.error());
    fits.push_back(*fit);
    draw_law(*fit, curve);
  }
  std::cout << (flags.json ? json_text(to_json(curves, fits), 2) + "\n" : table(curves, fits)) << std::flush;
  if (!flags.out.empty()) {
    plot::ChartSettings settings;
    settings.title = flags.title;
    settings.x_name = flags.points.empty() ? (flags.x == "tokens" ? "tokens" : "training FLOPs") : "D";
    settings.y_name = "loss";
    settings.x_unit = plot::Unit::kCount;
    settings.marks_name = "measured";
    settings.log_x = true;
    FATHOM_TRY(write_file_atomic(flags.out, plot::draw_chart(curves, settings)));
  }
  return kExitOk;
}

}  // namespace

Action declare_fit(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  auto* runs = app.add_option("RUN", flags->runs, "directories of training runs, each a point of one law");
  auto* x = app.add_option("--x", flags->x, "of runs: flops (of training) or tokens")
                ->check(CLI::IsMember({"flops", "tokens"}))
                ->capture_default_str();
  auto* name =
      app.add_option("--name", flags->name, "of runs: what the law is called")->capture_default_str();
  app.add_option("--points", flags->points, "a JSON file of series of points instead")
      ->excludes(runs, x, name);
  app.add_option("--most-exponent", flags->most_exponent, "largest b")
      ->check(between(1e-3, plot::kMostExponent))
      ->capture_default_str();
  auto* out = app.add_option("--out,-o", flags->out, "an SVG file with points and laws")->check(not_empty());
  app.add_option("--title", flags->title, "above the picture")->needs(out)->capture_default_str();
  app.add_flag("--json", flags->json, "print the laws as JSON");
  return [flags] { return run(*flags); };
}

}  // namespace fathom::cli
