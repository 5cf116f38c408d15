#include "cli/verify/recorded_routers.h"

#include "train/parameters.h"

namespace fathom::cli::verify {

namespace {

std::span<const float> values_of(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

// Comparisons under one prefix.
class Comparisons {
 public:
  Comparisons(ModelCase& c, Report& report, const std::string& prefix)
      : case_(c), report_(report), prefix_(prefix) {}

  void number(const std::string& name, double got) {
    if (const auto recorded = recorded_scalar(case_, prefix_ + name))
      report_.compare("train", prefix_ + name, Kind::kLosses, got, *recorded);
  }
  void values(const std::string& name, Kind kind, std::span<const float> got) {
    if (!case_.io.has(prefix_ + name)) return;
    const RecordedTensor& recorded = case_.io.at(prefix_ + name);
    const std::vector<float> ids(recorded.ids.begin(), recorded.ids.end());
    report_.compare("train", prefix_ + name, kind, got, ids.empty() ? recorded.values : ids);
  }

 private:
  ModelCase& case_;
  Report& report_;
  const std::string& prefix_;
};

// Rows of token choice are all rows of the batch, in their order.
void compare_choice(Comparisons& compare, const train::TokenChoice& choice,
                    const std::vector<float>& biases) {
  compare.number("router.balancing_loss", choice.balancing_loss);
  compare.number("scalar.balancing_loss", choice.balancing_loss);
  compare.values("router.balancing_ratio", Kind::kLosses, choice.load);
  compare.values("router.logits", Kind::kLogits, values_of(choice.logits));
  const std::span<const float> weights = values_of(choice.weights);
  std::vector<float> deciding(weights.begin(), weights.end());
  for (size_t i = 0; i < deciding.size() && !biases.empty(); ++i) deciding[i] += biases[i % biases.size()];
  compare.values("router.scores_for_argmax", Kind::kLogits, deciding);
  const std::vector<float> chosen(choice.chosen.begin(), choice.chosen.end());
  for (const char* name : {"router.depth_index", "depth_index"})
    compare.values(name, Kind::kSelections, chosen);
}

}  // namespace

std::vector<float> router_biases(const ModelPlan& plan, const train::Parameters& parameters) {
  for (const Segment& segment : plan.segments) {
    if (!segment.router || !segment.router->bias.present()) continue;
    const std::span<const float> bias = parameters.values(segment.router->bias.at(0));
    return {bias.begin(), bias.end()};
  }
  return {};
}

void compare_routers(ModelCase& c, Report& report, const std::string& prefix,
                     std::span<const CaseSequence> sequences, const train::Batch& batch,
                     const train::ForwardResult& result, const std::vector<float>& biases) {
  Comparisons compare(c, report, prefix);
  if (result.choice) return compare_choice(compare, *result.choice, biases);
  const auto place = [&](int32_t row) {
    for (size_t s = 0; s < batch.sequences.size(); ++s) {
      if (row < batch.sequences[s].end) {
        return static_cast<float>(sequences[s].places[static_cast<size_t>(row - batch.sequences[s].begin)]);
      }
    }
    return -1.0F;
  };
  double accuracy = 0, overlap = 0;
  for (size_t r = 0; r < result.passes.size(); ++r) {
    const train::RoutedPass& pass = result.passes[r];
    const std::string name = "router." + std::to_string(r);
    accuracy += pass.accuracy / static_cast<double>(result.passes.size());
    overlap += pass.overlap / static_cast<double>(result.passes.size());
    compare.number(name + ".sampling_loss", pass.bce);
    compare.number(name + ".sampling_acc", pass.accuracy);
    compare.number(name + ".sampling_topk_acc", pass.overlap);
    compare.number(name + ".router_z_loss", pass.z_loss);
    std::vector<float> kept, candidates, weights;
    const std::span<const float> all = values_of(pass.weights);
    for (size_t i = 0; i < pass.candidates.size(); ++i) {
      candidates.push_back(place(pass.candidates[i]));
      if (kept.size() == pass.kept.size() || pass.kept[kept.size()] != pass.candidates[i]) continue;
      kept.push_back(candidates.back());
      weights.push_back(all[i]);
    }
    compare.values(name + ".candidates", Kind::kSelections, candidates);
    compare.values(name + ".selected", Kind::kSelections, kept);
    compare.values(name + ".weights", Kind::kLogits, weights);
    // A random router has none.
    if (pass.logits.defined()) compare.values(name + ".logits", Kind::kLogits, values_of(pass.logits));
    if (pass.aux_logits.defined())
      compare.values(name + ".aux_logits", Kind::kLogits, values_of(pass.aux_logits));
  }
  if (result.passes.empty()) return;
  compare.number("scalar.sampling_acc", accuracy);
  compare.number("scalar.sampling_topk_acc", overlap);
}

}  // namespace fathom::cli::verify
