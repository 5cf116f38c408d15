// How well a model predicts text: over packed rows, as training validates, and over documents in rolling
// windows, per word and byte.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/packed_rows.h"
#include "eval/requests.h"
#include "eval/scorer.h"

namespace fathom::eval {

struct PackedSettings {
  int64_t sequence_length = 0;        // rows fed at once
  bool keep_documents_apart = false;  // no sequence crosses a document's end
  // Positions of a bucket of PackedResult::by_context; 0: none. Else the scorer tells of each target.
  int64_t bucket = 0;
};

// Predictions whose tokens had about as many tokens of their sequence before them.
struct ContextBucket {
  double log_likelihood = 0;
  int64_t predictions = 0;
  double nll() const { return -log_likelihood / static_cast<double>(predictions); }
};

struct PackedResult {
  double log_likelihood = 0;  // of all predictions
  int64_t predictions = 0;
  int64_t rows = 0;  // packed rows scored
  // Bucket b: from b * bucket + 1 to (b + 1) * bucket tokens before.
  std::vector<ContextBucket> by_context = {};
  double nll() const { return -log_likelihood / static_cast<double>(predictions); }
};

// Requests of one packed row, as training cuts it: of `sequence_length` tokens, or one more, which is then
// predicted and not fed.
std::vector<Request> requests_of_row(const PackedRows& rows, int64_t row, const PackedSettings& settings);

// The first `count` packed rows; `on_row` gets the result so far, and its error ends the evaluation.
Result<PackedResult> score_packed(const PackedRows& rows, int64_t count, const PackedSettings& settings,
                                  Scorer& scorer,
                                  const std::function<Status(const PackedResult& so_far)>& on_row);

struct RollingResult {
  double log_likelihood = 0;
  int64_t documents = 0, tokens = 0, words = 0, bytes = 0;
  double word_perplexity() const;  // exp(-log-likelihood / words)
  double byte_perplexity() const;
  double bits_per_byte() const;
};

// Adds one document, as lm-evaluation-harness's loglikelihood_rolling scores it: windows of at most
// `max_inputs` rows, each token predicted once. `on_window` is called after each.
Status add_document(std::string_view document, const TextEncoder& encoder, int64_t max_inputs, Scorer& scorer,
                    const std::function<Status()>& on_window, RollingResult& result);

}  // namespace fathom::eval
