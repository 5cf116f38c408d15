#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

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

// A list put in order from the front only as far as somebody looks: of a large vocabulary a draw mostly needs
// few tokens.
class Descending {
 public:
  Descending(Candidate* list, int64_t count) : list_(list), count_(count) {}
  int64_t count() const { return count_; }
  const Candidate& operator[](int64_t i) {
    while (i >= sorted_) extend();
    return list_[i];
  }
  void keep(int64_t count) { count_ = count; }

 private:
  static constexpr int64_t kFirst = 64;
  void extend() {
    const int64_t end = std::min(count_, sorted_ + std::max(kFirst, sorted_));
    if (end < count_) std::nth_element(list_ + sorted_, list_ + end, list_ + count_, before);
    std::sort(list_ + sorted_, list_ + end, before);
    sorted_ = end;
  }
  Candidate* list_;
  int64_t count_;
  int64_t sorted_ = 0;
};

int64_t arg_max(const Sample& args) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  FATHOM_CHECK(args.vocab > 0, "a row of logits has at least one token");
  int64_t best = 0;
  for (int64_t v = 0; v < args.vocab; ++v) {
    // One comparison finds both NaN and infinity.
    FATHOM_CHECK(args.logits[v] < kInfinity,
                 "the logit of token " + std::to_string(v) + " is NaN or infinite");
    if (args.logits[v] > args.logits[best]) best = v;
  }
  FATHOM_CHECK(args.logits[best] > -kInfinity, "no logit is finite");
  return best;
}

}  // namespace

int64_t sampling_workspace(int64_t vocab) { return vocab * static_cast<int64_t>(sizeof(Candidate)); }

Sampled sample_cpu(const Sample& args) {
  const float* logits = args.logits;
  const SamplingParams& p = args.params;
  FATHOM_CHECK(p.temperature >= 0 && std::isfinite(p.temperature),
               "temperature " + std::to_string(p.temperature) + ", expected 0 or more");
  const int64_t best = arg_max(args);
  double normaliser = 0;
  for (int64_t v = 0; v < args.vocab; ++v) normaliser += std::exp(double{logits[v]} - logits[best]);
  const auto result = [&](int32_t token) {
    return Sampled{token, static_cast<float>(double{logits[token]} - logits[best] - std::log(normaliser))};
  };
  if (p.temperature == 0) return result(static_cast<int32_t>(best));

  auto* const memory = static_cast<Candidate*>(args.workspace);
  int64_t count = args.vocab;
  for (int64_t v = 0; v < count; ++v) memory[v] = {static_cast<int32_t>(v), logits[v], 0.0};
  if (p.top_k > 0 && p.top_k < count) {
    std::nth_element(memory, memory + p.top_k, memory + count, before);
    count = p.top_k;
  }
  double total = 0;
  for (int64_t i = 0; i < count; ++i) {
    memory[i].weight = std::exp((double{memory[i].logit} - logits[best]) / p.temperature);
    total += memory[i].weight;
  }
  Descending list(memory, count);
  if (p.top_p < 1 || p.min_p > 0) {
    double reached = 0;
    int64_t kept = 0;
    while (kept < count &&
           (kept == 0 || ((p.top_p >= 1 || reached < p.top_p * total) && list[kept].weight >= p.min_p))) {
      reached += list[kept++].weight;
    }
    list.keep(kept);
    total = reached;
  }
  const double drawn = uniform(p.seed, args.stream, args.position) * total;
  double reached = 0;
  int32_t token = list[0].token;
  // The end is only met if the sum in this order fell short of `total` by rounding.
  for (int64_t i = 0; i < list.count() && list[i].weight > 0; ++i) {
    token = list[i].token;
    reached += list[i].weight;
    if (drawn < reached) break;
  }
  return result(token);
}

}  // namespace fathom::kernels
