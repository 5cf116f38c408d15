#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "kernels/sampling/sampling.h"

namespace fathom::kernels {

namespace {

// log softmax of one logit, in double.
double log_probability(const float* logits, int64_t vocab, int32_t token) {
  const double largest = *std::max_element(logits, logits + vocab);
  double total = 0;
  for (int64_t v = 0; v < vocab; ++v) total += std::exp(logits[v] - largest);
  return logits[token] - largest - std::log(total);
}

}  // namespace

Result<Sampled> sample_ref(const Sample& args) {
  const float* logits = args.logits;
  for (int64_t v = 0; v < args.vocab; ++v) {
    if (std::isnan(logits[v]) || logits[v] == std::numeric_limits<float>::infinity())
      return invalid("the logit of token " + std::to_string(v) + " is NaN or infinite");
  }
  FATHOM_CHECK(args.params.temperature >= 0 && std::isfinite(args.params.temperature),
               "temperature " + std::to_string(args.params.temperature) + ", expected 0 or more");
  std::vector<int32_t> order(static_cast<size_t>(args.vocab));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  FATHOM_CHECK(args.vocab > 0, "a row of logits has at least one token");
  if (!std::isfinite(logits[order.front()])) return invalid("no logit is finite");
  const SamplingParams& p = args.params;
  const auto result = [&](int32_t token) {
    return Sampled{token, static_cast<float>(log_probability(logits, args.vocab, token))};
  };
  if (p.temperature == 0) return result(order.front());

  if (p.top_k > 0 && p.top_k < args.vocab) order.resize(static_cast<size_t>(p.top_k));
  std::vector<double> weight;
  for (int32_t token : order)
    weight.push_back(std::exp((double{logits[token]} - logits[order.front()]) / p.temperature));
  double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  size_t kept = weight.size();
  if (p.top_p < 1) {
    double reached = 0;
    for (kept = 0; kept < weight.size() && (kept == 0 || reached < p.top_p * total); ++kept)
      reached += weight[kept];
  }
  while (kept > 1 && weight[kept - 1] < p.min_p * weight.front()) --kept;
  total = std::accumulate(weight.begin(), weight.begin() + static_cast<int64_t>(kept), 0.0);
  const double drawn = uniform(p.seed, args.stream, args.position) * total;
  double reached = 0;
  for (size_t i = 0; i < kept; ++i) {
    reached += weight[i];
    if (drawn < reached) return result(order[i]);
  }
  return result(order[kept - 1]);
}

}  // namespace fathom::kernels
