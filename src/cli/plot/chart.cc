#include "cli/plot/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "base/check.h"
#include "cli/markup.h"

namespace fathom::cli::plot {

namespace {

// Pixels.
constexpr double kWidth = 960, kTop = 56, kBottom = 58, kLeft = 76, kPlotHeight = 440, kLine = 20,
                 kCharacter = 7.2;
constexpr const char* kInk = "#1f2328";
constexpr const char* kFaint = "#59636e";
constexpr const char* kGrid = "#e4e8ec";
// Told apart by people who see colours differently (Okabe and Ito, "Color universal design", 2008), the
// yellow left out; then the same with dashes.
constexpr std::array<const char*, 7> kColors = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                "#56b4e9", "#e69f00", "#484848"};
constexpr std::array<const char*, 3> kDashes = {"", "7 4", "2 3"};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  std::string out = text;
  if (out.ends_with(".0")) out.resize(out.size() - 2);
  return out == "-0" ? "0" : out;
}

// Four digits.
std::string value_text(double value) {
  const double size = std::fabs(value);
  const char* format = size >= 1e5 || (value != 0 && size < 1e-3) ? "%.3e" : size >= 1000 ? "%.0f" : "%#.4g";
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

class Chart {
 public:
  Chart(const std::vector<Curve>& curves, const ChartSettings& settings)
      : settings_(settings),
        curves_(curves),
        x_(axis(settings.x_range, settings.log_x, settings.x_unit, [](const Point& p) { return p.x; })),
        y_(axis(settings.y_range, settings.log_y, settings.y_unit, [](const Point& p) { return p.y; })) {
    if (!settings.y_range) y_.widen_to_ticks(kYTicks);
    // Steps and tokens count from 0: an axis that begins near it begins there.
    if (!settings.x_range && !settings.log_x && x_.low() > 0 && x_.low() < 0.1 * x_.high())
      x_ = Axis(0, x_.high(), false, settings.x_unit);
    size_t longest = 0;
    for (const Curve& curve : curves_) longest = std::max(longest, curve.name.size());
    right_ = std::clamp(60 + kCharacter * static_cast<double>(longest + 8), 150.0, 380.0);
    plot_width_ = kWidth - kLeft - right_;
    plot_height_ = std::max(kPlotHeight, kLine * static_cast<double>(curves_.size() + 2));
  }

  std::string draw() {
    const double height = kTop + plot_height_ + kBottom;
    out_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(kWidth) + " " +
           number(height) + "\" width=\"" + number(kWidth) + "\" height=\"" + number(height) +
           "\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\" "
           "font-size=\"13\">\n"
           "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
           "<clipPath id=\"plot\"><rect x=\"" +
           number(kLeft - 5) + "\" y=\"" + number(kTop - 5) + "\" width=\"" + number(plot_width_ + 10) +
           "\" height=\"" + number(plot_height_ + 10) + "\"/></clipPath>\n";
    text(kLeft, 30, settings_.title, kInk, "font-size=\"17\" font-weight=\"600\"");
    axes();
    out_ += "<g clip-path=\"url(#plot)\" fill=\"none\" stroke-linejoin=\"round\" stroke-linecap=\"round\">\n";
    if (settings_.smooth > 1) {
      for (size_t c = 0; c < curves_.size(); ++c)
        path(shown_points(curves_[c].points), stroke(c) + " stroke-width=\"1\" opacity=\"0.25\"");
    }
    for (size_t c = 0; c < curves_.size(); ++c) strong_line(c);
    for (size_t c = 0; c < curves_.size(); ++c) marks(c);
    out_ += "</g>\n";
    legend();
    return out_ + "</svg>\n";
  }

 private:
  static constexpr int kXTicks = 8, kYTicks = 7;

  bool shown(const Point& p) const {
    return std::isfinite(p.x) && std::isfinite(p.y) && (!settings_.log_x || p.x > 0) &&
           (!settings_.log_y || p.y > 0);
  }

  template <class Get>
  Axis axis(const std::optional<Range>& range, bool log, Unit unit, const Get& get) const {
    if (range) return {range->low, range->high, log, unit};
    double low = INFINITY, high = -INFINITY;
    for (const Curve& curve : curves_) {
      for (const std::vector<Point>* points : {&curve.points, &curve.marks}) {
        for (const Point& point : *points) {
          if (!shown(point)) continue;
          low = std::min(low, get(point));
          high = std::max(high, get(point));
        }
      }
    }
    return {low, high, log, unit};
  }

  double left_of(double x) const { return kLeft + plot_width_ * x_.place(x); }
  double top_of(double y) const { return kTop + plot_height_ * (1 - y_.place(y)); }

  void text(double x, double y, const std::string& content, const char* color, const std::string& more) {
    out_ += "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" fill=\"" + color + "\"" +
            (more.empty() ? "" : " " + more) + ">" + escaped(content) + "</text>\n";
  }

  void line(double x1, double y1, double x2, double y2, const char* color) {
    out_ += "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" +
            number(y2) + "\" stroke=\"" + color + "\"/>\n";
  }

  void axes() {
    const double bottom = kTop + plot_height_;
    for (const Tick& tick : y_.ticks(kYTicks + 1)) {
      const double y = top_of(tick.value);
      line(kLeft, y, kLeft + plot_width_, y, kGrid);
      text(kLeft - 10, y + 4.5, tick.label, kFaint, "text-anchor=\"end\"");
    }
    for (const Tick& tick : x_.ticks(kXTicks)) {
      const double x = left_of(tick.value);
      line(x, bottom, x, bottom + 5, kFaint);
      text(x, bottom + 21, tick.label, kFaint, "text-anchor=\"middle\"");
    }
    line(kLeft, bottom, kLeft + plot_width_, bottom, kFaint);
    const auto with_unit = [](const std::string& name, const Axis& axis) {
      return axis.unit_name().empty() ? name : name + " (" + axis.unit_name() + ")";
    };
    text(kLeft + plot_width_ / 2, bottom + 45, with_unit(settings_.x_name, x_), kInk,
         "text-anchor=\"middle\"");
    const double middle = kTop + plot_height_ / 2;
    text(20, middle, with_unit(settings_.y_name, y_), kInk,
         "text-anchor=\"middle\" transform=\"rotate(-90 20 " + number(middle) + ")\"");
  }

  static std::string stroke(size_t curve) {
    const char* dash = kDashes[curve / kColors.size() % kDashes.size()];
    return std::string("stroke=\"") + kColors[curve % kColors.size()] + "\"" +
           (*dash == '\0' ? "" : std::string(" stroke-dasharray=\"") + dash + "\"");
  }

  void path(const std::vector<Point>& points, const std::string& look) {
    if (points.empty()) return;
    std::string d;
    for (const Point& point : thinned(points, x_.low(), x_.high(), static_cast<int64_t>(plot_width_))) {
      d += d.empty() ? "M" : " ";
      d += number(left_of(point.x)) + "," + number(top_of(point.y));
    }
    // A single point is a dot: a line of no length with round ends.
    if (points.size() == 1) d += " h0";
    out_ += "<path d=\"" + d + "\" " + look + "/>\n";
  }

  std::vector<Point> shown_points(const std::vector<Point>& points) const {
    std::vector<Point> out;
    std::ranges::copy_if(points, std::back_inserter(out), [&](const Point& point) { return shown(point); });
    return out;
  }

  void strong_line(size_t c) {
    const std::vector<Point> means = smoothed(shown_points(curves_[c].points), settings_.smooth);
    path(means, stroke(c) + " stroke-width=\"2\"");
    if (means.empty()) return;
    ends_.push_back({c, means.back().y, std::clamp(top_of(means.back().y), kTop, kTop + plot_height_)});
  }

  void marks(size_t c) {
    for (const Point& mark : shown_points(curves_[c].marks)) {
      out_ += "<circle cx=\"" + number(left_of(mark.x)) + "\" cy=\"" + number(top_of(mark.y)) +
              "\" r=\"4\" stroke=\"" + kColors[c % kColors.size()] +
              "\" stroke-width=\"1.8\" fill=\"#ffffff\"/>\n";
    }
  }

  // Names at the height where their lines end, moved apart where they would touch.
  void legend() {
    std::ranges::stable_sort(ends_, {}, [](const End& end) { return end.top; });
    for (size_t i = 1; i < ends_.size(); ++i) ends_[i].top = std::max(ends_[i].top, ends_[i - 1].top + kLine);
    double room = kTop + plot_height_;
    for (size_t i = ends_.size(); i-- > 0; room -= kLine) {
      ends_[i].top = std::min(ends_[i].top, room);
      room = ends_[i].top;
    }
    const double x = kLeft + plot_width_ + 14;
    for (const End& end : ends_) {
      out_ += "<line x1=\"" + number(x) + "\" y1=\"" + number(end.top) + "\" x2=\"" + number(x + 18) +
              "\" y2=\"" + number(end.top) + "\" " + stroke(end.curve) + " stroke-width=\"2.5\"/>\n";
      text(x + 25, end.top + 4.5, curves_[end.curve].name + "  " + value_text(end.y), kInk,
           "xml:space=\"preserve\"");
    }
    const bool any_marks =
        std::ranges::any_of(curves_, [](const Curve& curve) { return !curve.marks.empty(); });
    if (!any_marks) return;
    out_ += "<circle cx=\"" + number(x + 9) + "\" cy=\"" + number(26) + "\" r=\"4\" stroke=\"" + kFaint +
            "\" stroke-width=\"1.8\" fill=\"#ffffff\"/>\n";
    text(x + 25, 30, settings_.marks_name, kFaint, "");
  }

  struct End {
    size_t curve;
    double y, top;
  };

  const ChartSettings& settings_;
  const std::vector<Curve>& curves_;
  Axis x_, y_;
  double right_ = 0, plot_width_ = 0, plot_height_ = 0;
  std::vector<End> ends_;
  std::string out_;
};

}  // namespace

bool has_points(const std::vector<Curve>& curves, const ChartSettings& settings) {
  return std::ranges::any_of(curves, [&](const Curve& curve) {
    return std::ranges::any_of(curve.points, [&](const Point& p) {
      return std::isfinite(p.x) && std::isfinite(p.y) && (!settings.log_x || p.x > 0) &&
             (!settings.log_y || p.y > 0);
    });
  });
}

std::string draw_chart(const std::vector<Curve>& curves, const ChartSettings& settings) {
  FATHOM_CHECK(has_points(curves, settings), "no point to draw");
  return Chart(curves, settings).draw();
}

}  // namespace fathom::cli::plot
