// How far the predictions of two models of one vocabulary are apart on the same text: what quantising
// weights, or another way of rounding, does to a model.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "data/packed_rows.h"
#include "engine/executor.h"
#include "eval/perplexity.h"

namespace fathom::eval {

// Over all predictions. Divergences are sum_v p(v) ln(p(v) / q(v)) of the reference's p and the other's q, in
// nats (Kullback and Leibler).
struct Divergence {
  std::vector<double> values;       // one a prediction, in the order of the text
  int64_t same_choice = 0;          // predictions whose most probable tokens are the same
  double reference_likelihood = 0;  // ln p of what follows, summed
  double other_likelihood = 0;

  int64_t predictions() const { return static_cast<int64_t>(values.size()); }
  double mean() const;
  double quantile(double share) const;  // the smallest value that `share` of them do not exceed
  double agreement() const { return static_cast<double>(same_choice) / static_cast<double>(values.size()); }
  double reference_perplexity() const;
  double other_perplexity() const;

  // `rows` rows of logits of both models, [rows, vocab_size], and the token that each is followed by.
  void add(const float* reference, const float* other, const int32_t* targets, int64_t rows,
           int64_t vocab_size, Parallel& parallel);
};

// A model, and what it is run with; all the caller's.
struct ComparedModel {
  const ModelPlan& plan;
  const Weights& weights;
};

constexpr int64_t kComparedRows = 64;  // rows of a call at most: all of them have logits

// The first `count` packed rows (eval/perplexity.h) through both, routed by the causal rule; on_row() is told
// the result so far, and its error ends the comparison.
Result<Divergence> compare_models(const ComparedModel& reference, const ComparedModel& other,
                                  const PackedRows& rows, int64_t count, const PackedSettings& settings,
                                  DType kv_type, Parallel& parallel,
                                  const std::function<Status(const Divergence&)>& on_row);

}  // namespace fathom::eval
