#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/router/router.h"

namespace fathom::kernels {

namespace {

// Scores of a row's logits.
std::vector<double> scores_of(RouterScore kind, const std::vector<double>& z) {
  std::vector<double> scores(z.size());
  const double largest = *std::max_element(z.begin(), z.end());
  double total = 0;
  for (double value : z) total += std::exp(value - largest);
  for (size_t i = 0; i < z.size(); ++i) {
    switch (kind) {
      case RouterScore::kSigmoid:
        scores[i] = 1.0 / (1.0 + std::exp(-z[i]));
        break;
      case RouterScore::kTanh:
        scores[i] = std::tanh(z[i]);
        break;
      case RouterScore::kIdentity:
        scores[i] = z[i];
        break;
      case RouterScore::kSoftmax:
        scores[i] = std::exp(z[i] - largest) / total;
        break;
    }
  }
  return scores;
}

// Gradients of a row's logits from those of its scores `s`.
std::vector<double> slopes_of(RouterScore kind, const std::vector<double>& s, std::vector<double> grads) {
  const double mean = std::inner_product(s.begin(), s.end(), grads.begin(), 0.0);
  for (size_t i = 0; i < s.size(); ++i) {
    switch (kind) {
      case RouterScore::kSigmoid:
        grads[i] *= s[i] * (1.0 - s[i]);
        break;
      case RouterScore::kTanh:
        grads[i] *= 1.0 - s[i] * s[i];
        break;
      case RouterScore::kIdentity:
        break;
      case RouterScore::kSoftmax:
        grads[i] = s[i] * (grads[i] - mean);
        break;
    }
  }
  return grads;
}

float rank(float value) { return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value; }

}  // namespace

void router_fwd_ref(const RouterFwd& args) {
  const double alpha = args.score == RouterScore::kIdentity ? 1.0 : args.alpha;
  std::vector<double> z(static_cast<size_t>(args.outputs));
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t i = 0; i < args.outputs; ++i) {
      double sum = 0;
      for (int64_t d = 0; d < args.dim; ++d)
        sum += double{args.x[r * args.dim + d]} / args.temperature * args.weight[i * args.dim + d];
      z[static_cast<size_t>(i)] = sum;
      args.logits[r * args.outputs + i] = static_cast<float>(sum);
    }
    const std::vector<double> scores = scores_of(args.score, z);
    for (int64_t i = 0; i < args.outputs; ++i)
      args.weights[r * args.outputs + i] = static_cast<float>(alpha * scores[static_cast<size_t>(i)]);
  }
}

void router_bwd_ref(const RouterBwd& args) {
  const double alpha = args.score == RouterScore::kIdentity ? 1.0 : args.alpha;
  std::vector<double> grad_weight(static_cast<size_t>(args.outputs * args.dim));
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* const logits = args.logits + r * args.outputs;
    const float* const grad_weights = args.grad_weights + r * args.outputs;
    std::vector<double> grads =
        slopes_of(args.score, scores_of(args.score, std::vector<double>(logits, logits + args.outputs)),
                  std::vector<double>(grad_weights, grad_weights + args.outputs));
    for (int64_t i = 0; i < args.outputs; ++i) {
      double& grad = grads[static_cast<size_t>(i)];
      grad *= alpha;
      if (args.grad_logits != nullptr) grad += args.grad_logits[r * args.outputs + i];
      grad /= args.temperature;
    }
    for (int64_t d = 0; d < args.dim; ++d) {
      double grad_x = 0;
      for (int64_t i = 0; i < args.outputs; ++i) {
        grad_x += grads[static_cast<size_t>(i)] * args.weight[i * args.dim + d];
        grad_weight[static_cast<size_t>(i * args.dim + d)] +=
            grads[static_cast<size_t>(i)] * args.x[r * args.dim + d];
      }
      args.grad_x[r * args.dim + d] = static_cast<float>(grad_x);
    }
  }
  std::transform(grad_weight.begin(), grad_weight.end(), args.grad_weight,
                 [](double value) { return static_cast<float>(value); });
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

void router_choose_ref(const RouterChoose& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const auto value = [&](int64_t i) {
      return rank(args.weights[r * args.outputs + i] + (args.bias != nullptr ? args.bias[i] : 0.0F));
    };
    int64_t best = 0;
    for (int64_t i = 1; i < args.outputs; ++i) {
      if (value(i) > value(best)) best = i;
    }
    args.chosen[r] = static_cast<int32_t>(best);
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
