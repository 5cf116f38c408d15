// The scaling law L(D) = A D^-b + C fitted to losses by least squares (Decoder-Hybrid-Decoder, scaling
// experiments): A, b > 0 and 0 <= C <= the smallest loss.
#pragma once

#include <span>

#include "base/result.h"
#include "cli/plot/curve.h"

namespace fathom::cli::plot {

struct PowerLaw {
  double a = 0, b = 0, c = 0;
  double at(double x) const;
};

struct LawFit {
  PowerLaw law;
  double sum_of_squares = 0;
  double r2 = 0;  // 1 - sum of squares over that around the mean
};

// The published fits of losses over FLOPs have b at most 1, those over tokens any b.
constexpr double kMostExponent = 8;

// The best fit there is, up to rounding: for each b the best A and C are those of a straight line in x^-b,
// and b is looked for over a grid and then between its neighbours. Errors: fewer than three points, an x or a
// loss that is not a positive number, x that are all the same, losses that do not fall, numbers so large that
// the fit is not finite.
Result<LawFit> fit_power_law(std::span<const Point> points, double most_exponent = kMostExponent);

}  // namespace fathom::cli::plot
