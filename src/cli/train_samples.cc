#include <iostream>
#include <optional>

#include "cli/text_codec.h"
#include "cli/train_observers.h"
#include "engine/generate.h"

namespace fathom::cli {

namespace {

class Samples final : public train::TrainObserver {
 public:
  explicit Samples(const train::RunConfig& config) : config_(config) {}

  void on_sample(int64_t step, const ModelPlan& plan, const train::Parameters& parameters) override {
    if (!codec_) {
      Result<TextCodec> codec = TextCodec::open(config_.data.tokenizer);
      if (!codec.ok()) return;
      codec_ = std::move(codec).value();
    }
    Weights weights(plan.params.size());
    for (size_t p = 0; p < plan.params.size(); ++p) {
      weights.borrow(static_cast<int32_t>(p), DType::kF32, parameters.values(static_cast<int32_t>(p)).data(),
                     nullptr);
    }
    std::vector<int32_t> prompt = codec_->encode(config_.train.sample_prompt);
    if (prompt.empty()) prompt.push_back(codec_->end_of_text());
    const auto rows = static_cast<int64_t>(prompt.size());
    SerialParallel serial;  // LibTorch's threads are at rest; a pool of our own would be a second one
    Executor executor(plan, weights, rows, rows + config_.train.sample_tokens, serial);
    Generator generator(executor, plan, rows);
    SequenceState state = executor.make_state(DType::kF32);
    GenerateRequest request;
    request.prompt = prompt;
    request.max_tokens = config_.train.sample_tokens;
    request.sampling.temperature = 0.8F;
    request.sampling.top_k = 50;
    request.sampling.seed = config_.train.seed;
    request.stop_tokens = {codec_->end_of_text()};
    const GenerateResult result = generator.run(state, request, [](const GeneratedToken&) { return true; });
    std::vector<int32_t> ids;
    for (const GeneratedToken& token : result.tokens) ids.push_back(token.token);
    std::cerr << "\nafter " << step << " steps: " << config_.train.sample_prompt << codec_->decode(ids)
              << "\n";
  }

 private:
  const train::RunConfig& config_;
  std::optional<TextCodec> codec_;
};

}  // namespace

std::unique_ptr<train::TrainObserver> make_sample_observer(const train::RunConfig& config) {
  return std::make_unique<Samples>(config);
}

}  // namespace fathom::cli
