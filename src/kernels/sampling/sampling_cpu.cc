#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/random.h"
#include "kernels/sampling/sampling.h"

namespace fathom::kernels {

namespace {

struct Candidate {
  int32_t token;
  float logit;
  double weight;  // exp((logit - largest) / temperature)
};

// Descending by logit, the lower id first among equals.
bool before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

}  // namespace

int64_t sampling_workspace(int64_t vocab) { return vocab * static_cast<int64_t>(sizeof(Candidate)); }

Sampled sample_cpu(const Sample& args) {
  const float* logits = args.logits;
  const SamplingParams& p = args.params;
  int64_t best = 0;
  for (int64_t v = 1; v < args.vocab; ++v) {
    if (logits[v] > logits[best] || std::isnan(logits[best])) best = v;
  }
  FATHOM_CHECK(std::isfinite(logits[best]), "no logit is finite");
  double normaliser = 0;
  for (int64_t v = 0; v < args.vocab; ++v) normaliser += std::exp(double{logits[v]} - logits[best]);
  const auto result = [&](int32_t token) {
    return Sampled{token, static_cast<float>(double{logits[token]} - logits[best] - std::log(normaliser))};
  };
  if (p.temperature == 0) return result(static_cast<int32_t>(best));

  auto* const list = static_cast<Candidate*>(args.workspace);
  int64_t count = 0;
  for (int64_t v = 0; v < args.vocab; ++v) {
    list[count++] = {static_cast<int32_t>(v), logits[v],
                     std::exp((double{logits[v]} - logits[best]) / p.temperature)};
  }
  if (p.top_k > 0 && p.top_k < count) {
    std::nth_element(list, list + p.top_k, list + count, before);
    count = p.top_k;
  }
  std::sort(list, list + count, before);
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += list[i].weight;
  int64_t kept = count;
  if (p.top_p < 1) {
    double reached = 0;
    for (kept = 0; kept < count && (kept == 0 || reached < p.top_p * total); ++kept)
      reached += list[kept].weight;
  }
  while (kept > 1 && list[kept - 1].weight < p.min_p * list[0].weight) --kept;
  total = 0;
  for (int64_t i = 0; i < kept; ++i) total += list[i].weight;
  const double drawn = uniform(p.seed, args.stream, args.position) * total;
  double reached = 0;
  for (int64_t i = 0; i < kept; ++i) {
    reached += list[i].weight;
    if (drawn < reached) return result(list[i].token);
  }
  return result(list[kept - 1].token);
}

}  // namespace fathom::kernels
