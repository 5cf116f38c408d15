#include "engine/token_draw.h"

#include <algorithm>
#include <numeric>

#include "engine/logit_rules.h"
#include "kernels/sampling/sampling.h"

namespace fathom {

TokenDraw::TokenDraw(int64_t vocab, Parallel& parallel)
    : vocab_(vocab), parallel_(parallel), workspace_(kernels::sampling_workspace(vocab)) {}

Result<GeneratedToken> TokenDraw::given(int32_t token, const float* logits) {
  kernels::Sample sample{
      .logits = logits, .vocab = vocab_, .params = {.temperature = 0}, .workspace = workspace_.as()};
  FATHOM_ASSIGN(const kernels::Sampled best, kernels::sample_cpu(sample, parallel_));
  return GeneratedToken{token, logits[token] - (logits[best.token] - best.log_probability)};
}

Result<GeneratedToken> TokenDraw::next(const Request& request, std::span<const int32_t> tokens,
                                       const float* logits) {
  kernels::Sample sample{.logits = logits,
                         .vocab = vocab_,
                         .params = request.sampling,
                         .stream = request.stream,
                         .position = tokens.size(),
                         .workspace = workspace_.as()};
  if (!request.rules.any()) {
    FATHOM_ASSIGN(const kernels::Sampled drawn, kernels::sample_cpu(sample, parallel_));
    return GeneratedToken{drawn.token, drawn.log_probability};
  }
  changed_logits_.assign(logits, logits + vocab_);
  apply_rules(request.rules, tokens, static_cast<int64_t>(request.prompt.size()), changed_logits_);
  sample.logits = changed_logits_.data();
  FATHOM_ASSIGN(const kernels::Sampled drawn, kernels::sample_cpu(sample, parallel_));
  return given(drawn.token, logits);
}

std::vector<TokenLogProbability> TokenDraw::most_probable(const float* logits, int32_t count,
                                                          const GeneratedToken& known) const {
  std::vector<int32_t> ids(static_cast<size_t>(vocab_));
  std::iota(ids.begin(), ids.end(), 0);
  const auto middle = ids.begin() + std::min<int64_t>(count, vocab_);
  std::partial_sort(ids.begin(), middle, ids.end(), [&](int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  });
  const float scale = logits[known.token] - known.log_probability;
  std::vector<TokenLogProbability> top;
  for (auto id = ids.begin(); id != middle; ++id)
    top.push_back({*id, *id == known.token ? known.log_probability : logits[*id] - scale});
  return top;
}

}  // namespace fathom
