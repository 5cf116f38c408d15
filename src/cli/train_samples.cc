#include <iostream>
#include <memory>
#include <utility>
#include <vector>

#include "cli/text_codec.h"
#include "cli/train_observers.h"
#include "engine/generate.h"
#include "train/torch_parallel.h"

namespace fathom::cli {

namespace {

class Samples final : public train::TrainObserver {
 public:
  Samples(const train::RunConfig& config, TextCodec codec, std::vector<int32_t> prompt)
      : config_(config), codec_(std::move(codec)), prompt_(std::move(prompt)) {}

  void on_sample(int64_t step, const ModelPlan& plan, const train::Parameters& parameters) override {
    Weights weights(plan.params.size());
    for (size_t p = 0; p < plan.params.size(); ++p) {
      weights.borrow(static_cast<int32_t>(p), DType::kF32, parameters.values(static_cast<int32_t>(p)).data(),
                     nullptr);
    }
    const auto rows = static_cast<int64_t>(prompt_.size());
    // LibTorch's threads are at rest; a pool of our own would be a second one.
    Executor executor(plan, weights, rows, rows + config_.train.sample_tokens, train::torch_parallel());
    Generator generator(executor, plan, rows);
    SequenceState state = executor.make_state(DType::kF32);
    GenerateRequest request;
    request.prompt = prompt_;
    request.max_tokens = config_.train.sample_tokens;
    request.sampling.temperature = 0.8F;
    request.sampling.top_k = 50;
    request.sampling.seed = config_.train.seed;
    if (codec_.end_of_text() >= 0) request.stop_tokens = {codec_.end_of_text()};
    const Result<GenerateResult> result =
        generator.run(state, request, [](const GeneratedToken&) { return true; });
    if (!result.ok()) {
      std::cerr << "\nafter " << step << " steps: no text: " << result.error().message << "\n";
      return;
    }
    std::vector<int32_t> ids;
    for (const GeneratedToken& token : result->tokens) ids.push_back(token.token);
    std::cerr << "\nafter " << step << " steps: " << config_.train.sample_prompt << codec_.decode(ids)
              << "\n";
  }

 private:
  const train::RunConfig& config_;
  const TextCodec codec_;
  const std::vector<int32_t> prompt_;
};

}  // namespace

Result<std::unique_ptr<train::TrainObserver>> make_sample_observer(const train::RunConfig& config) {
  FATHOM_ASSIGN(TextCodec codec, TextCodec::open(config.data.tokenizer));
  Result<std::vector<int32_t>> prompt = codec.encode_prompt(config.train.sample_prompt, codec.end_of_text());
  if (!prompt.ok()) return at("train.sample_prompt", std::move(prompt).error());
  return std::unique_ptr<train::TrainObserver>(
      std::make_unique<Samples>(config, std::move(codec), std::move(prompt).value()));
}

}  // namespace fathom::cli
