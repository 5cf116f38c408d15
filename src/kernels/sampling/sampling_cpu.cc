#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "base/check.h"
#include "base/extents.h"
#include "base/random.h"
#include "kernels/sampling/sampling_levels.h"

namespace fathom::kernels {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Candidate {
  int32_t token;
  float logit;
  float weight;  // exp((logit - largest) / temperature)
};

// Descending by logit, the lower id first among equals.
bool before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

double weight_of(const Candidate& c) { return c.weight; }

double total_weight(const Candidate* list, int64_t count) {
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += list[i].weight;
  return total;
}

// What the order goes up with: the negative logit, or the id among equals.
double key_of(const Candidate& c, bool by_id) {
  return by_id ? static_cast<double>(c.token) : -double{c.logit};
}

struct Keys {
  Keys(const Candidate* begin, const Candidate* end, bool by_id) {
    for (const Candidate* c = begin; c != end; ++c) {
      least = std::min(least, key_of(*c, by_id));
      most = std::max(most, key_of(*c, by_id));
    }
  }
  double least = std::numeric_limits<double>::infinity(), most = -least;
};

struct Beginning {
  int64_t count;
  double measure;
};

// The shortest beginning of the descending order whose measure, a sum over its tokens, is `enough`, or all of
// it if none is; count > 0. Puts it in front, its last token last. Only a few tokens are sorted: many are
// thrown into bins by their keys, then those of the bin in which it becomes enough, and so on.
template <class Measure, class Enough>
Beginning shortest_beginning(Candidate* list, int64_t count, const Measure& measure, const Enough& enough) {
  constexpr int64_t kSorted = 64;
  constexpr int kBins = 256;
  Candidate *begin = list, *end = list + count;
  double reached = 0;
  while (end - begin > kSorted) {
    Keys keys(begin, end, false);
    const bool by_id = keys.least == keys.most;
    if (by_id) keys = Keys(begin, end, true);
    const double scale = (kBins - 1) / (keys.most - keys.least);
    const auto bin_at = [&](double key) { return static_cast<int>((key - keys.least) * scale); };
    const auto bin_of = [&](const Candidate& c) { return bin_at(key_of(c, by_id)); };
    double sums[kBins] = {};
    for (const Candidate* c = begin; c != end; ++c) sums[bin_of(*c)] += measure(*c);
    // The first bin is not empty, nor is the last, nor one in which the sum becomes enough.
    const int last = bin_at(keys.most);
    int bin = 0;
    while (bin < last && !enough(reached + sums[bin])) reached += sums[bin++];
    end = std::partition(begin, end, [&](const Candidate& c) { return bin_of(c) <= bin; });
    begin = std::partition(begin, end, [&](const Candidate& c) { return bin_of(c) < bin; });
  }
  std::sort(begin, end, before);
  do {
    reached += measure(*begin++);
  } while (begin < end && !enough(reached));
  return {begin - list, reached};
}

struct Workspace {
  Workspace(void* memory, int64_t vocab)
      : blocks(static_cast<SamplingSums*>(memory)),
        candidates(reinterpret_cast<Candidate*>(blocks + ceil_div(vocab, kSamplingBlock))),
        largest(reinterpret_cast<float*>(candidates + vocab + 1)),
        ordered(largest + ceil_div(vocab, kSamplingGroup)) {}
  SamplingSums* blocks;   // [ceil(vocab / kSamplingBlock)]
  Candidate* candidates;  // [vocab + 1]: the place behind the last one is written too
  float* largest;         // [ceil(vocab / kSamplingGroup)]
  float* ordered;         // likewise
};

// What one pass over the logits finds.
struct Row {
  int64_t best;    // the first of the largest
  float largest;   // its logit
  double softmax;  // sum exp(z - largest)
  double weights;  // sum exp((z - largest) / temperature), where the parameters ask for it
};

bool has_top_k(const Sample& args) { return args.params.top_k > 0 && args.params.top_k < args.vocab; }

// Whether anything is a share of the weight of all tokens.
bool needs_all_weights(const Sample& args) {
  const SamplingParams& p = args.params;
  return p.temperature > 0 && !has_top_k(args) && (p.top_p < 1 || !(p.min_p > 0));
}

Result<Row> read_row(const Sample& args, const Workspace& workspace, Parallel& parallel) {
  FATHOM_CHECK(args.vocab > 0, "a row of logits has at least one token");
  // At temperature 1 the weights are those of the softmax.
  const float divisor = needs_all_weights(args) ? args.params.temperature : 1;
  const auto block_fn = FATHOM_SIMD_SELECT(sampling_block);
  const int64_t blocks = ceil_div(args.vocab, kSamplingBlock);
  parallel.run(blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * kSamplingBlock;
      workspace.blocks[b] = block_fn(args.logits + first, std::min(kSamplingBlock, args.vocab - first),
                                     divisor, workspace.largest + b * (kSamplingBlock / kSamplingGroup));
    }
  });
  const auto smaller = [](const SamplingSums& a, const SamplingSums& b) { return a.largest < b.largest; };
  Row row = {};
  row.largest = std::max_element(workspace.blocks, workspace.blocks + blocks, smaller)->largest;
  for (int64_t b = 0; b < blocks; ++b) {
    const SamplingSums& block = workspace.blocks[b];
    const double distance = double{block.largest} - row.largest;
    row.softmax += block.softmax * std::exp(distance);
    row.weights += block.weights * std::exp(distance / divisor);
  }
  if (!std::isfinite(row.softmax)) {
    for (int64_t v = 0; v < args.vocab; ++v) {
      if (!(args.logits[v] < kInfinity))
        return invalid("the logit of token " + std::to_string(v) + " is NaN or infinite");
    }
  }
  if (!(row.largest > -kInfinity)) return invalid("no logit is finite");
  const int64_t groups = ceil_div(args.vocab, kSamplingGroup);
  row.best = kSamplingGroup *
             (std::find(workspace.largest, workspace.largest + groups, row.largest) - workspace.largest);
  while (args.logits[row.best] != row.largest) ++row.best;
  return row;
}

// Lists the tokens whose logits are finite and at least `least`, by id. Returns how many.
int64_t collect(const Sample& args, const Workspace& workspace, float largest, float least) {
  const auto weights_fn = FATHOM_SIMD_SELECT(sampling_weights);
  least = std::max(least, std::numeric_limits<float>::lowest());
  int64_t count = 0;
  for (int64_t first = 0; first < args.vocab; first += kSamplingGroup) {
    if (workspace.largest[first / kSamplingGroup] < least) continue;
    const int64_t size = std::min(kSamplingGroup, args.vocab - first);
    float weights[kSamplingGroup];
    weights_fn(args.logits + first, size, largest, args.params.temperature, weights);
    for (int64_t i = 0; i < size; ++i) {
      const float logit = args.logits[first + i];
      workspace.candidates[count] = {static_cast<int32_t>(first + i), logit, weights[i]};
      count += logit >= least ? 1 : 0;
    }
  }
  return count;
}

// At least k tokens have this logit or a larger one: the k-th largest of the groups' largest.
float bound_of_top_k(const Sample& args, const Workspace& workspace) {
  const int64_t groups = ceil_div(args.vocab, kSamplingGroup), k = args.params.top_k;
  if (k > groups) return -kInfinity;
  std::copy_n(workspace.largest, groups, workspace.ordered);
  std::nth_element(workspace.ordered, workspace.ordered + k - 1, workspace.ordered + groups,
                   std::greater<>());
  return workspace.ordered[k - 1];
}

// Tokens below this logit are not kept, or not drawn: n of them, at a distance of d or more from the largest,
// weigh at most n exp(-d / temperature) together, which is to be no more than what is left out in any case.
float bound_by_weight(const Sample& args, const Row& row, double drawn) {
  const SamplingParams& p = args.params;
  double distance = std::numeric_limits<double>::infinity();
  if (needs_all_weights(args)) {
    const double left_out = (1 - (p.top_p < 1 ? double{p.top_p} : drawn)) * row.weights;
    distance = p.temperature * std::log(static_cast<double>(args.vocab) / left_out);
  }
  if (p.min_p > 0) distance = std::min(distance, -p.temperature * std::log(double{p.min_p}));
  // Rounded downwards; the largest is always in.
  return std::nextafter(static_cast<float>(row.largest - std::max(0.0, distance)), -kInfinity);
}

}  // namespace

int64_t sampling_workspace(int64_t vocab) {
  return static_cast<int64_t>(sizeof(SamplingSums)) * ceil_div(vocab, kSamplingBlock) +
         static_cast<int64_t>(sizeof(Candidate)) * (vocab + 1) +
         2 * static_cast<int64_t>(sizeof(float)) * ceil_div(vocab, kSamplingGroup);
}

Result<Sampled> sample_cpu(const Sample& args, Parallel& parallel) {
  const SamplingParams& p = args.params;
  FATHOM_CHECK(p.temperature >= 0 && std::isfinite(p.temperature),
               "temperature " + std::to_string(p.temperature) + ", expected 0 or more");
  const Workspace workspace(args.workspace, args.vocab);
  FATHOM_ASSIGN(const Row row, read_row(args, workspace, parallel));
  const auto result = [&](int64_t token) {
    return Sampled{static_cast<int32_t>(token),
                   static_cast<float>(double{args.logits[token]} - row.largest - std::log(row.softmax))};
  };
  if (p.temperature == 0) return result(row.best);

  const double drawn = uniform(p.seed, args.stream, args.position);
  Candidate* const list = workspace.candidates;
  int64_t count = 0;
  double total = row.weights;
  if (has_top_k(args)) {
    count = collect(args, workspace, row.largest, bound_of_top_k(args, workspace));
    const auto one = [](const Candidate&) { return 1.0; };
    count = shortest_beginning(list, count, one, [&](double reached) { return reached >= p.top_k; }).count;
    total = total_weight(list, count);
  } else {
    count = collect(args, workspace, row.largest, bound_by_weight(args, row, drawn));
  }
  if (p.top_p < 1) {
    const auto enough = [&](double reached) { return reached >= p.top_p * total; };
    const Beginning kept = shortest_beginning(list, count, weight_of, enough);
    count = kept.count;
    total = kept.measure;
  }
  if (p.min_p > 0) {
    const auto stays = [&](const Candidate& c) { return c.weight >= p.min_p || c.token == row.best; };
    count = std::partition(list, list + count, stays) - list;
    total = total_weight(list, count);
  }
  const auto beyond = [&](double reached) { return reached > drawn * total; };
  return result(list[shortest_beginning(list, count, weight_of, beyond).count - 1].token);
}

}  // namespace fathom::kernels
