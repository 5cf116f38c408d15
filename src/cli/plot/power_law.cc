#include "cli/plot/power_law.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace fathom::cli::plot {

namespace {

constexpr double kLeastExponent = 1e-4;
constexpr int kGrid = 400, kSections = 120;

double squares_of(std::span<const Point> points, const PowerLaw& law) {
  double squares = 0;
  for (const Point& point : points) squares += std::pow(law.at(point.x) - point.y, 2);
  return squares;
}

// The best A and C for a given b; x are taken relative to the first, so that powers stay near 1.
LawFit with_exponent(std::span<const Point> points, double lowest, double b) {
  const auto count = static_cast<double>(points.size());
  const double unit = points.front().x;
  double mean_power = 0, mean_loss = 0;
  std::vector<double> powers;
  for (const Point& point : points) {
    powers.push_back(std::pow(point.x / unit, -b));
    mean_power += powers.back() / count;
    mean_loss += point.y / count;
  }
  double products = 0, spread = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    products += (powers[i] - mean_power) * (points[i].y - mean_loss);
    spread += std::pow(powers[i] - mean_power, 2);
  }
  double a = spread > 0 ? products / spread : 0, c = mean_loss - a * mean_power;
  if (c < 0 || c > lowest) {
    // At a bound of C what is left is a line through it.
    c = std::clamp(c, 0.0, lowest);
    double above = 0, squares = 0;
    for (size_t i = 0; i < points.size(); ++i) {
      above += powers[i] * (points[i].y - c);
      squares += powers[i] * powers[i];
    }
    a = above / squares;
  }
  LawFit fit{.law = {a * std::pow(unit, b), b, c}};
  fit.sum_of_squares = squares_of(points, fit.law);
  return fit;
}

Status check(std::span<const Point> points) {
  if (points.size() < 3)
    return invalid(std::to_string(points.size()) + " points, expected at least 3 for a law of 3 numbers");
  for (const Point& point : points) {
    if (!(std::isfinite(point.x) && std::isfinite(point.y) && point.x > 0 && point.y > 0)) {
      return invalid("the point (" + std::to_string(point.x) + ", " + std::to_string(point.y) +
                     ") is not of two positive numbers");
    }
  }
  const auto [low, high] = std::ranges::minmax(points, {}, &Point::x);
  if (low.x == high.x) return invalid("all points have the same x, " + std::to_string(low.x));
  return {};
}

}  // namespace

double PowerLaw::at(double x) const { return a * std::pow(x, -b) + c; }

Result<LawFit> fit_power_law(std::span<const Point> points, double most_exponent) {
  FATHOM_TRY(check(points));
  const double lowest = std::ranges::min(points, {}, &Point::y).y;
  const auto at = [&](double log_b) { return with_exponent(points, lowest, std::exp(log_b)); };
  const double low = std::log(kLeastExponent), step = (std::log(most_exponent) - low) / kGrid;
  int best = 0;
  double least = at(low).sum_of_squares;
  for (int i = 1; i <= kGrid; ++i) {
    const double squares = at(low + i * step).sum_of_squares;
    if (squares < least) best = i, least = squares;
  }
  // Golden sections between the neighbours of the best of the grid.
  double from = low + std::max(0, best - 1) * step, to = low + std::min(kGrid, best + 1) * step;
  constexpr double kShare = std::numbers::phi - 1;
  for (int i = 0; i < kSections; ++i) {
    const double left = to - kShare * (to - from), right = from + kShare * (to - from);
    if (at(left).sum_of_squares < at(right).sum_of_squares) {
      to = right;
    } else {
      from = left;
    }
  }
  LawFit fit = at((from + to) / 2);
  double mean = 0, around = 0;
  for (const Point& point : points) mean += point.y / static_cast<double>(points.size());
  for (const Point& point : points) around += std::pow(point.y - mean, 2);
  fit.r2 = around > 0 ? 1 - fit.sum_of_squares / around : 0;
  const std::pair<const char*, double> numbers[] = {{"the sum of squares around the mean loss", around},
                                                    {"the sum of squares around the law", fit.sum_of_squares},
                                                    {"A", fit.law.a}};
  for (const auto& [name, number] : numbers) {
    if (!std::isfinite(number))
      return invalid(std::string(name) + " is not finite, expected points of smaller numbers");
  }
  // No better than the mean of all.
  if (fit.law.a <= 0 || fit.r2 <= 0) return invalid("the losses do not fall as x grows");
  return fit;
}

}  // namespace fathom::cli::plot
