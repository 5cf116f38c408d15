// Means, their standard errors, and what groups of tasks are worth.
#pragma once

#include <cstdint>
#include <span>

namespace fathom::eval {

// A mean over items. The standard error is the sample's standard deviation (n - 1) over sqrt(n), NaN below
// two items.
struct Estimate {
  double value = 0;
  double standard_error = 0;
  int64_t items = 0;
};
Estimate mean_of(std::span<const double> values);

// Of all values there are: sqrt(mean of squared distances from the mean), n and not n - 1 below.
double population_deviation(std::span<const double> values);

// exp(-mean) of log-likelihoods; the standard error follows the exponential's slope (delta method).
Estimate perplexity_of(std::span<const double> log_likelihoods);

// Groups by the number of their items: the mean over all items, and the pooled standard error of
// lm-evaluation-harness, sqrt(sum (n - 1) n s^2 / (N - groups) / N). NaN where there is no spread to pool.
Estimate pooled(std::span<const Estimate> groups);

}  // namespace fathom::eval
