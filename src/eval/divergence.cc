#include "eval/divergence.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace fathom::eval {

namespace {

struct LogSum {
  double value = 0;  // of exponentials
  int64_t most_probable = 0;
};

LogSum log_sum(const float* logits, int64_t count) {
  const float* most = std::max_element(logits, logits + count);
  double sum = 0;
  for (int64_t v = 0; v < count; ++v) sum += std::exp(double{logits[v]} - *most);
  return {*most + std::log(sum), most - logits};
}

}  // namespace

double Divergence::mean() const {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double Divergence::quantile(double share) const {
  std::vector<double> sorted = values;
  const auto place = static_cast<int64_t>(std::ceil(share * static_cast<double>(sorted.size()))) - 1;
  const auto at = sorted.begin() + std::clamp<int64_t>(place, 0, predictions() - 1);
  std::ranges::nth_element(sorted, at);
  return *at;
}

double Divergence::reference_perplexity() const {
  return std::exp(-reference_likelihood / static_cast<double>(values.size()));
}
double Divergence::other_perplexity() const {
  return std::exp(-other_likelihood / static_cast<double>(values.size()));
}

void Divergence::add(const float* reference, const float* other, const int32_t* targets, int64_t rows,
                     int64_t vocab_size, Parallel& parallel) {
  struct Row {
    double divergence, reference, other;
    bool same;
  };
  std::vector<Row> found(static_cast<size_t>(rows));
  parallel.run(rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* const p = reference + r * vocab_size;
      const float* const q = other + r * vocab_size;
      const LogSum of_p = log_sum(p, vocab_size), of_q = log_sum(q, vocab_size);
      double sum = 0;
      for (int64_t v = 0; v < vocab_size; ++v) {
        const double log_p = p[v] - of_p.value;
        sum += std::exp(log_p) * (log_p - (q[v] - of_q.value));
      }
      // Rounding can make a tiny one negative.
      found[static_cast<size_t>(r)] = {std::max(sum, 0.0), p[targets[r]] - of_p.value,
                                       q[targets[r]] - of_q.value, of_p.most_probable == of_q.most_probable};
    }
  });
  for (const Row& row : found) {
    values.push_back(row.divergence);
    same_choice += row.same ? 1 : 0;
    reference_likelihood += row.reference;
    other_likelihood += row.other;
  }
}

Result<Divergence> compare_models(const ComparedModel& reference, const ComparedModel& other,
                                  const PackedRows& rows, int64_t count, const PackedSettings& settings,
                                  DType kv_type, Parallel& parallel,
                                  const std::function<Status(const Divergence&)>& on_row) {
  const int64_t longest = settings.sequence_length, chunk = std::min(kComparedRows, longest);
  Executor first(reference.plan, reference.weights, chunk, longest, parallel);
  Executor second(other.plan, other.weights, chunk, longest, parallel);
  SequenceState of_first = first.make_state(kv_type), of_second = second.make_state(kv_type);
  ForwardOptions options;
  options.logits = Logits::kAll;
  Divergence result;
  for (int64_t row = 0; row < count; ++row) {
    for (const Request& request : requests_of_row(rows, row, settings)) {
      of_first.reset();
      of_second.reset();
      // The last row that predicts: a token behind it is there only where one more was packed.
      const int64_t fed = std::min(request.inputs, static_cast<int64_t>(request.tokens.size()) - 1);
      for (int64_t at = 0; at < fed; at += chunk) {
        const auto part =
            std::span(request.tokens)
                .subspan(static_cast<size_t>(at), static_cast<size_t>(std::min(chunk, fed - at)));
        const ForwardResult p = first.forward(of_first, part, options);
        const ForwardResult q = second.forward(of_second, part, options);
        result.add(p.logits, q.logits, request.tokens.data() + at + 1, static_cast<int64_t>(part.size()),
                   reference.plan.dims.vocab_size, parallel);
      }
    }
    FATHOM_TRY(on_row(result));
  }
  if (result.values.empty()) return invalid("the text holds nothing to predict");
  return result;
}

}  // namespace fathom::eval
