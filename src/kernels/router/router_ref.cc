#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/router/router.h"

namespace fathom::kernels {

namespace {

// The score of a logit and its derivative.
double score_of(RouterScore kind, double z) {
  switch (kind) {
    case RouterScore::kSigmoid:
      return 1.0 / (1.0 + std::exp(-z));
    case RouterScore::kTanh:
      return std::tanh(z);
    case RouterScore::kIdentity:
      return z;
  }
  return z;
}

double slope_of(RouterScore kind, double z) {
  const double s = score_of(kind, z);
  switch (kind) {
    case RouterScore::kSigmoid:
      return s * (1.0 - s);
    case RouterScore::kTanh:
      return 1.0 - s * s;
    case RouterScore::kIdentity:
      return 1.0;
  }
  return 1.0;
}

float rank(float value) { return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value; }

}  // namespace

void router_fwd_ref(const RouterFwd& args) {
  const double alpha = args.score == RouterScore::kIdentity ? 1.0 : args.alpha;
  for (int64_t r = 0; r < args.rows; ++r) {
    double z = 0;
    for (int64_t d = 0; d < args.dim; ++d)
      z += double{args.x[r * args.dim + d]} / args.temperature * args.weight[d];
    args.logits[r] = static_cast<float>(z);
    args.weights[r] = static_cast<float>(alpha * score_of(args.score, z));
  }
}

void router_bwd_ref(const RouterBwd& args) {
  const double alpha = args.score == RouterScore::kIdentity ? 1.0 : args.alpha;
  std::vector<double> grad_weight(static_cast<size_t>(args.dim));
  for (int64_t r = 0; r < args.rows; ++r) {
    double grad = args.grad_weights[r] * alpha * slope_of(args.score, args.logits[r]);
    if (args.grad_logits != nullptr) grad += args.grad_logits[r];
    grad /= args.temperature;
    for (int64_t d = 0; d < args.dim; ++d) {
      args.grad_x[r * args.dim + d] = static_cast<float>(grad * args.weight[d]);
      grad_weight[static_cast<size_t>(d)] += grad * args.x[r * args.dim + d];
    }
  }
  for (int64_t d = 0; d < args.dim; ++d)
    args.grad_weight[d] = static_cast<float>(grad_weight[static_cast<size_t>(d)]);
}

void router_top_k_ref(const RouterTopK& args) {
  int32_t* kept = args.kept;
  for (int64_t s = 0; s < args.num_sequences; ++s) {
    std::vector<int32_t> order(static_cast<size_t>(args.sequences[s].size()));
    std::iota(order.begin(), order.end(), static_cast<int32_t>(args.sequences[s].begin));
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      if (rank(args.weights[a]) != rank(args.weights[b]))
        return rank(args.weights[a]) > rank(args.weights[b]);
      return rank(args.logits[a]) > rank(args.logits[b]);
    });
    order.resize(static_cast<size_t>(args.keep[s]));
    std::sort(order.begin(), order.end());
    kept = std::copy(order.begin(), order.end(), kept);
  }
}

void router_bce_ref(const RouterBce& args) {
  double total = 0;
  int64_t next = 0;
  for (int64_t r = 0; r < args.rows; ++r) {
    const bool kept = next < args.num_kept && args.kept[next] == r;
    next += kept ? 1 : 0;
    const double z = args.logits[r], y = kept ? 1.0 : 0.0;
    total += std::max(z, 0.0) - z * y + std::log1p(std::exp(-std::fabs(z)));
    if (args.grad_logits != nullptr) {
      args.grad_logits[r] = static_cast<float>(args.scale * (1.0 / (1.0 + std::exp(-z)) - y));
    }
  }
  *args.loss = args.scale * total;
}

int64_t router_capacity(double capacity, int64_t length, int64_t candidates) {
  const double wanted = std::max(1.0, std::floor(capacity * static_cast<double>(length)));
  return wanted < static_cast<double>(candidates) ? static_cast<int64_t>(wanted) : candidates;
}

}  // namespace fathom::kernels
