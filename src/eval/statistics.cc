#include "eval/statistics.h"

#include <cmath>
#include <limits>

namespace fathom::eval {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

}  // namespace

Estimate mean_of(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0;
  for (double value : values) sum += value;
  Estimate estimate{.value = sum / n, .standard_error = kNone, .items = static_cast<int64_t>(values.size())};
  if (values.size() < 2) return estimate;
  double squares = 0;
  for (double value : values) squares += (value - estimate.value) * (value - estimate.value);
  estimate.standard_error = std::sqrt(squares / (n - 1)) / std::sqrt(n);
  return estimate;
}

double population_deviation(std::span<const double> values) {
  const double mean = mean_of(values).value;
  double squares = 0;
  for (double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size()));
}

Estimate perplexity_of(std::span<const double> log_likelihoods) {
  Estimate estimate = mean_of(log_likelihoods);
  estimate.value = std::exp(-estimate.value);
  estimate.standard_error *= estimate.value;
  return estimate;
}

Estimate pooled(std::span<const Estimate> groups) {
  double items = 0, sum = 0, squares = 0;
  for (const Estimate& group : groups) {
    const auto n = static_cast<double>(group.items);
    items += n;
    sum += n * group.value;
    squares += (n - 1) * n * group.standard_error * group.standard_error;
  }
  const double freedom = items - static_cast<double>(groups.size());
  return {.value = sum / items,
          .standard_error = freedom > 0 ? std::sqrt(squares / freedom / items) : kNone,
          .items = static_cast<int64_t>(items)};
}

}  // namespace fathom::eval
