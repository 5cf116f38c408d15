#include "plan/spec_words.h"

#include <span>

namespace fathom {

namespace {

template <class Enum>
struct Word {
  Enum value;
  std::string_view word;
};

constexpr Word<Sharing> kSharing[] = {{Sharing::kNone, "none"},
                                      {Sharing::kCycle, "cycle"},
                                      {Sharing::kSequence, "sequence"},
                                      {Sharing::kMiddleCycle, "middle_cycle"},
                                      {Sharing::kMiddleSequence, "middle_sequence"}};
constexpr Word<Initialization> kInitialization[] = {{Initialization::kRandom, "random"},
                                                    {Initialization::kStepwise, "stepwise"},
                                                    {Initialization::kAverage, "average"},
                                                    {Initialization::kLower, "lower"},
                                                    {Initialization::kUpper, "upper"}};
constexpr Word<RouterKind> kRouterKind[] = {{RouterKind::kExpertChoice, "expert"},
                                            {RouterKind::kTokenChoice, "token"}};
constexpr Word<ScoreFunction> kScore[] = {{ScoreFunction::kSigmoid, "sigmoid"},
                                          {ScoreFunction::kTanh, "tanh"},
                                          {ScoreFunction::kNone, "none"},
                                          {ScoreFunction::kSoftmax, "softmax"}};
constexpr Word<Gating> kGating[] = {{Gating::kWeighted, "weighted"}, {Gating::kAdditive, "additive"}};
constexpr Word<RouterNetwork> kNetwork[] = {
    {RouterNetwork::kLinear, "linear"}, {RouterNetwork::kMlp, "mlp"}, {RouterNetwork::kWideMlp, "wide_mlp"}};
constexpr Word<RouterLoss> kLoss[] = {{RouterLoss::kNone, "none"},
                                      {RouterLoss::kAuxLoss, "aux_loss"},
                                      {RouterLoss::kAuxRouter, "aux_router"},
                                      {RouterLoss::kBalancing, "balancing"},
                                      {RouterLoss::kLossFree, "loss_free"}};
constexpr Word<KvMode> kKv[] = {
    {KvMode::kRecursionWise, "recursion_wise"}, {KvMode::kShared, "shared"}, {KvMode::kHybrid, "hybrid"}};
constexpr Word<RelaxationMethod> kRelaxation[] = {
    {RelaxationMethod::kLora, "lora"},
    {RelaxationMethod::kDora, "dora"},
    {RelaxationMethod::kAdaptionPrompt, "adaption_prompt"},
    {RelaxationMethod::kRecursionEncoding, "recursion_encoding"}};
constexpr Word<SvdInit> kSvdInit[] = {
    {SvdInit::kNone, "none"}, {SvdInit::kPublished, "published"}, {SvdInit::kExact, "exact"}};
constexpr Word<Projection> kProjection[] = {{Projection::kQ, "q_proj"},       {Projection::kK, "k_proj"},
                                            {Projection::kV, "v_proj"},       {Projection::kO, "o_proj"},
                                            {Projection::kGate, "gate_proj"}, {Projection::kUp, "up_proj"},
                                            {Projection::kDown, "down_proj"}};
constexpr Word<Parametrisation> kParametrisation[] = {{Parametrisation::kStandard, "standard"},
                                                      {Parametrisation::kMuP, "mup"},
                                                      {Parametrisation::kMuPPlusPlus, "mup++"}};

std::span<const Word<Sharing>> words(Sharing) { return kSharing; }
std::span<const Word<Initialization>> words(Initialization) { return kInitialization; }
std::span<const Word<RouterKind>> words(RouterKind) { return kRouterKind; }
std::span<const Word<ScoreFunction>> words(ScoreFunction) { return kScore; }
std::span<const Word<Gating>> words(Gating) { return kGating; }
std::span<const Word<RouterNetwork>> words(RouterNetwork) { return kNetwork; }
std::span<const Word<RouterLoss>> words(RouterLoss) { return kLoss; }
std::span<const Word<KvMode>> words(KvMode) { return kKv; }
std::span<const Word<RelaxationMethod>> words(RelaxationMethod) { return kRelaxation; }
std::span<const Word<SvdInit>> words(SvdInit) { return kSvdInit; }
std::span<const Word<Projection>> words(Projection) { return kProjection; }
std::span<const Word<Parametrisation>> words(Parametrisation) { return kParametrisation; }

template <class Enum>
std::string_view find_word(Enum value) {
  for (const auto& row : words(Enum{})) {
    if (row.value == value) return row.word;
  }
  return "?";
}

}  // namespace

std::string_view word_of(Sharing value) { return find_word(value); }
std::string_view word_of(Initialization value) { return find_word(value); }
std::string_view word_of(RouterKind value) { return find_word(value); }
std::string_view word_of(ScoreFunction value) { return find_word(value); }
std::string_view word_of(Gating value) { return find_word(value); }
std::string_view word_of(RouterNetwork value) { return find_word(value); }
std::string_view word_of(RouterLoss value) { return find_word(value); }
std::string_view word_of(KvMode value) { return find_word(value); }
std::string_view word_of(RelaxationMethod value) { return find_word(value); }
std::string_view word_of(SvdInit value) { return find_word(value); }
std::string_view word_of(Projection value) { return find_word(value); }
std::string_view word_of(Parametrisation value) { return find_word(value); }

template <class Enum>
std::optional<std::string> parse_word(std::string_view word, Enum& value) {
  std::string known;
  for (const auto& row : words(Enum{})) {
    if (row.word == word) {
      value = row.value;
      return std::nullopt;
    }
    known += (known.empty() ? "\"" : ", \"") + std::string(row.word) + "\"";
  }
  return known;
}

template std::optional<std::string> parse_word(std::string_view, Sharing&);
template std::optional<std::string> parse_word(std::string_view, Initialization&);
template std::optional<std::string> parse_word(std::string_view, RouterKind&);
template std::optional<std::string> parse_word(std::string_view, ScoreFunction&);
template std::optional<std::string> parse_word(std::string_view, Gating&);
template std::optional<std::string> parse_word(std::string_view, RouterNetwork&);
template std::optional<std::string> parse_word(std::string_view, RouterLoss&);
template std::optional<std::string> parse_word(std::string_view, KvMode&);
template std::optional<std::string> parse_word(std::string_view, RelaxationMethod&);
template std::optional<std::string> parse_word(std::string_view, SvdInit&);
template std::optional<std::string> parse_word(std::string_view, Projection&);
template std::optional<std::string> parse_word(std::string_view, Parametrisation&);

}  // namespace fathom
