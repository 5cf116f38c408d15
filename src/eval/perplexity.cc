#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "eval/text_rules.h"

namespace fathom::eval {

std::vector<Request> requests_of_row(const PackedRows& rows, int64_t row, const PackedSettings& settings) {
  const int64_t fed = settings.sequence_length;
  FATHOM_CHECK(rows.length() == fed || rows.length() == fed + 1,
               "packed rows of " + std::to_string(rows.length()) + " tokens");
  const std::vector<int32_t> tokens = rows.row(row);
  std::vector<int32_t> cuts = {0};
  if (settings.keep_documents_apart) cuts = rows.document_cuts(row);
  std::erase_if(cuts, [&](int32_t cut) { return cut >= fed; });
  std::vector<Request> requests;
  for (size_t c = 0; c < cuts.size(); ++c) {
    const int64_t begin = cuts[c];
    // What follows a document's end is not predicted; the last piece may have a token behind what is fed.
    const int64_t end = c + 1 < cuts.size() ? cuts[c + 1] : rows.length();
    if (end - begin < 2) continue;
    requests.push_back({.tokens = {tokens.begin() + begin, tokens.begin() + end},
                        .inputs = std::min(end, fed) - begin,
                        .first_target = 1});
  }
  return requests;
}

namespace {

void add_by_context(const Request& request, const Score& score, int64_t bucket, PackedResult& result) {
  FATHOM_CHECK(static_cast<int64_t>(score.of_targets.size()) == request.targets(),
               "a scorer that does not tell of each target");
  for (size_t i = 0; i < score.of_targets.size(); ++i) {
    const int64_t before = request.first_target + static_cast<int64_t>(i);
    const auto b = static_cast<size_t>((before - 1) / bucket);
    result.by_context.resize(std::max(result.by_context.size(), b + 1));
    result.by_context[b].log_likelihood += score.of_targets[i];
    ++result.by_context[b].predictions;
  }
}

}  // namespace

Result<PackedResult> score_packed(const PackedRows& rows, int64_t count, const PackedSettings& settings,
                                  Scorer& scorer, const std::function<Status(const PackedResult&)>& on_row) {
  PackedResult result;
  for (int64_t row = 0; row < count; ++row) {
    for (const Request& request : requests_of_row(rows, row, settings)) {
      const Score score = scorer.score({&request, 1}).front();
      result.log_likelihood += score.log_likelihood;
      result.predictions += request.targets();
      if (settings.bucket > 0) add_by_context(request, score, settings.bucket, result);
    }
    ++result.rows;
    FATHOM_TRY(on_row(result));
  }
  if (result.predictions == 0) return invalid("the data holds nothing to predict");
  return result;
}

double RollingResult::word_perplexity() const {
  return std::exp(-log_likelihood / static_cast<double>(words));
}
double RollingResult::byte_perplexity() const {
  return std::exp(-log_likelihood / static_cast<double>(bytes));
}
double RollingResult::bits_per_byte() const {
  return -log_likelihood / static_cast<double>(bytes) / std::log(2.0);
}

Status add_document(std::string_view document, const TextEncoder& encoder, int64_t max_inputs, Scorer& scorer,
                    const std::function<Status()>& on_window, RollingResult& result) {
  const std::vector<int32_t> tokens = encoder.encode(document);
  FATHOM_ASSIGN(const std::vector<Request> windows, rolling_windows(tokens, encoder.prefix, max_inputs));
  for (const Request& window : windows) {
    result.log_likelihood += scorer.score({&window, 1}).front().log_likelihood;
    FATHOM_TRY(on_window());
  }
  ++result.documents;
  result.tokens += static_cast<int64_t>(tokens.size());
  result.words += count_words(document);
  result.bytes += static_cast<int64_t>(document.size());
  return {};
}

}  // namespace fathom::eval
