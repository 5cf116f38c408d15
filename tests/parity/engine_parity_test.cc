// The engine gives the same bits for a prompt in one call, in any chunks, token by token, and with any number
// of threads, for every model and every type of matrices.
#include <map>

#include "base/half.h"
#include "base/isa.h"
#include "base/worse_of.h"
#include "engine/executor.h"
#include "kernels/common/testing.h"
#include "plan/matrix_types.h"
#include "tests/parity/tiny_weights.h"
#include "weights/checkpoint.h"
#include "weights/int4_rows.h"
#include "weights/int8_rows.h"

namespace fathom {
namespace {

using testing::kv_type_of;
using testing::TinyModel;
using testing::weights_of;

struct Outcome {
  std::vector<float> logits;  // of every row
  std::vector<uint8_t> depths;
  friend bool operator==(const Outcome& a, const Outcome& b) {
    return a.depths == b.depths && a.logits.size() == b.logits.size() &&
           std::memcmp(a.logits.data(), b.logits.data(), a.logits.size() * sizeof(float)) == 0;
  }
};

// Feeds the tokens in calls of `next()` rows.
Outcome feed(const TinyModel& model, const Weights& weights, DType kv_type,
             const std::vector<int32_t>& tokens, Parallel& parallel, const std::function<int64_t()>& next,
             int64_t max_rows = 0) {
  const auto count = static_cast<int64_t>(tokens.size());
  Executor executor(model.plan, weights, max_rows > 0 ? max_rows : count, count, parallel);
  SequenceState state = executor.make_state(kv_type);
  Outcome outcome;
  for (int64_t at = 0; at < count;) {
    const int64_t rows = std::min(count - at, next());
    ForwardOptions options;
    options.logits = Logits::kAll;
    const ForwardResult result = executor.forward(
        state, std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(rows)), options);
    outcome.logits.insert(outcome.logits.end(), result.logits,
                          result.logits + rows * model.plan.dims.vocab_size);
    outcome.depths.insert(outcome.depths.end(), result.depths.begin(), result.depths.end());
    at += rows;
  }
  return outcome;
}

// Rows whose logits nobody wants stop early: what later rows and the last one get is the same to the bit.
TEST(EngineParity, ThePrefillShortcutChangesNothing) {
  SerialParallel serial;
  testing::for_each_tiny_model([&](const TinyModel& model) {
    const Weights weights = weights_of(model, DType::kBF16);
    const std::vector<int32_t> tokens = testing::random_tokens(75, model.plan.dims.vocab_size, 1);
    const Outcome whole = feed(model, weights, DType::kBF16, tokens, serial, [] { return int64_t{75}; });
    const auto vocab = static_cast<size_t>(model.plan.dims.vocab_size);
    for (const bool shortcut : {true, false}) {
      Executor executor(model.plan, weights, 75, 75, serial);
      SequenceState state = executor.make_state(DType::kBF16);
      // A prompt in three calls, of which only the last has logits, then two tokens.
      for (const auto& [from, rows] :
           {std::pair<size_t, size_t>{0, 30}, {30, 1}, {31, 42}, {73, 1}, {74, 1}}) {
        ForwardOptions options;
        options.logits = from + rows < 73 ? Logits::kNone : Logits::kLast;
        options.prefill_shortcut = shortcut;
        const ForwardResult result = executor.forward(state, std::span(tokens).subspan(from, rows), options);
        if (options.logits == Logits::kNone) {
          EXPECT_EQ(result.logits, nullptr);
          continue;
        }
        EXPECT_EQ(std::memcmp(result.logits, whole.logits.data() + (from + rows - 1) * vocab,
                              vocab * sizeof(float)),
                  0)
            << "row " << from + rows - 1 << (shortcut ? ", with" : ", without") << " the shortcut";
      }
    }
  });
}

TEST(EngineParity, BitsDoNotDependOnChunksOrThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  kernels::testing::for_each_level([&] {
    testing::for_each_tiny_model([&](const TinyModel& model) {
      for (const MatrixTypes& matrix_type : {MatrixTypes(DType::kF32), MatrixTypes(DType::kBF16),
                                             MatrixTypes(DType::kI8), MatrixTypes(DType::kI4, 32)}) {
        const Weights weights = weights_of(model, matrix_type);
        const DType type = kv_type_of(matrix_type);
        const std::vector<int32_t> tokens = testing::random_tokens(75, model.plan.dims.vocab_size, 1);
        const Outcome whole = feed(model, weights, type, tokens, pool, [] { return int64_t{75}; });
        for (float logit : whole.logits) ASSERT_TRUE(std::isfinite(logit));
        EXPECT_TRUE(feed(model, weights, type, tokens, serial, [] { return int64_t{1}; }) == whole)
            << "token by token";
        uint64_t draw = 0;
        EXPECT_TRUE(feed(model, weights, type, tokens, serial,
                         [&] { return 1 + static_cast<int64_t>(philox(9, 9, draw++)[0] % 20); }) == whole)
            << "random chunks";
      }
    });
  });
}

// An executor of few rows has rings of few blocks, which wrap; more keys than a split of attention has are
// summed in several.
TEST(EngineParity, BitsDoNotDependOnWrappedRingsOrSplitsOfKeys) {
  static constexpr int64_t kTokens = 300, kFewRows = 20;
  ThreadPool pool(2);
  testing::for_each_tiny_model([&](const TinyModel& model) {
    const Weights weights = weights_of(model, DType::kBF16);
    const std::vector<int32_t> tokens = testing::random_tokens(kTokens, model.plan.dims.vocab_size, 7);
    const Outcome whole = feed(model, weights, DType::kBF16, tokens, pool, [] { return kTokens; });
    EXPECT_TRUE(feed(
                    model, weights, DType::kBF16, tokens, pool, [] { return int64_t{1}; }, 1) == whole)
        << "token by token";
    uint64_t draw = 0;
    const auto some = [&] { return 1 + static_cast<int64_t>(philox(3, 5, draw++)[0] % kFewRows); };
    EXPECT_TRUE(feed(model, weights, DType::kBF16, tokens, pool, some, kFewRows) == whole) << "random chunks";
  });
}

// Int8 weights are those of float but for their rounding: with weights that int8 holds exactly, what is left
// is that products read their rows as whole numbers of 16 bits.
TEST(EngineParity, WeightsThatInt8HoldsGiveTheLogitsOfFloat) {
  SerialParallel serial;
  testing::for_each_tiny_model([&](const TinyModel& given) {
    if (is_routed(given.plan)) return;  // a decision may fall on either side
    TinyModel model = given;
    for (size_t p = 0; p < model.values.size(); ++p) {
      const auto columns = static_cast<size_t>(model.plan.params[p].shape.back());
      if (type_of(model.plan, static_cast<int32_t>(p), DType::kI8) != DType::kI8) {
        // bfloat16, or float whichever the type of matrices.
        if (may_be_bf16(model.plan.params[p].role))
          for (float& value : model.values[p]) value = round_to_bfloat16(value);
        continue;
      }
      for (size_t row = 0; row < model.values[p].size(); row += columns) {
        std::vector<int8_t> q(columns);
        const float scale = quantise_row(std::span(model.values[p]).subspan(row, columns), q.data());
        for (size_t i = 0; i < columns; ++i) model.values[p][row + i] = scale * static_cast<float>(q[i]);
      }
    }
    const std::vector<int32_t> tokens = testing::random_tokens(40, model.plan.dims.vocab_size, 1);
    const auto next = [] { return int64_t{40}; };
    const Outcome exact = feed(model, weights_of(model, DType::kF32), DType::kF32, tokens, serial, next);
    const Outcome int8 = feed(model, weights_of(model, DType::kI8), DType::kF32, tokens, serial, next);
    double errors = 0, squares = 0;
    for (size_t i = 0; i < exact.logits.size(); ++i) {
      errors += std::pow(exact.logits[i] - int8.logits[i], 2);
      squares += std::pow(exact.logits[i], 2);
    }
    // Rates are multiplied in bfloat16 beside int8, with 8 bits.
    EXPECT_LE(std::sqrt(errors / squares), 3e-2) << model.name;
    double high = 0;
    for (size_t p = 0; p < model.plan.params.size(); ++p) {
      if (type_of(model.plan, static_cast<int32_t>(p), DType::kI8) == DType::kBF16 &&
          static_cast<int32_t>(p) != model.plan.embedding.first)
        ++high;
    }
    if (high == 0) {
      EXPECT_LE(std::sqrt(errors / squares), 1e-3) << model.name;
    }
  });
}

// The values that a parameter's stored form stands for.
void read_values(const Weights::Array& array, int64_t columns, std::vector<float>& values) {
  const auto* const bytes = static_cast<const uint8_t*>(array.data);
  const int64_t rows = static_cast<int64_t>(values.size()) / columns;
  for (int64_t r = 0; r < rows; ++r) {
    const std::span<float> row =
        std::span(values).subspan(static_cast<size_t>(r * columns), static_cast<size_t>(columns));
    if (array.type == DType::kI4) {
      const auto* const words = static_cast<const uint8_t*>(array.groups);
      read_row_int4(
          bytes + r * int4::row_bytes(columns),
          words + r * int4::groups_of(columns, array.group) * static_cast<int64_t>(sizeof(uint16_t)),
          array.group, row);
      continue;
    }
    for (size_t i = 0; i < row.size(); ++i) {
      const size_t at = static_cast<size_t>(r * columns) + i;
      if (array.type == DType::kI8)
        row[i] = array.scale[r] * static_cast<float>(static_cast<const int8_t*>(array.data)[at]);
      if (array.type == DType::kBF16) row[i] = to_float(static_cast<const BFloat16*>(array.data)[at]);
    }
  }
}

// The same of int4 weights, and of int8 ones for the head, beside float weights of the values that they stand
// for.
TEST(EngineParity, Int4WeightsGiveTheLogitsOfTheirValues) {
  SerialParallel serial;
  for (const int64_t group : int4::kGroups) {
    const MatrixTypes int4_types(DType::kI4, group);
    testing::for_each_tiny_model([&](const TinyModel& model) {
      if (is_routed(model.plan)) return;  // a decision may fall on either side
      const Weights stored = weights_of(model, int4_types);
      TinyModel floats = model;
      bool has_bf16 = false;
      for (size_t p = 0; p < floats.values.size(); ++p) {
        const auto param = static_cast<int32_t>(p);
        read_values(stored.at(param), model.plan.params[p].shape.back(), floats.values[p]);
        has_bf16 |= stored.at(param).type == DType::kBF16 && param != model.plan.embedding.first;
      }
      const std::vector<int32_t> tokens = testing::random_tokens(40, model.plan.dims.vocab_size, 1);
      const auto next = [] { return int64_t{40}; };
      const Outcome exact = feed(floats, weights_of(floats, DType::kF32), DType::kF32, tokens, serial, next);
      const Outcome int4 = feed(model, stored, DType::kF32, tokens, serial, next);
      double errors = 0, squares = 0;
      for (size_t i = 0; i < exact.logits.size(); ++i) {
        errors += std::pow(exact.logits[i] - int4.logits[i], 2);
        squares += std::pow(exact.logits[i], 2);
      }
      EXPECT_LE(std::sqrt(errors / squares), has_bf16 ? 3e-2 : 1e-3) << model.name << ", groups of " << group;
    });
  }
}

TEST(EngineParity, AStateCopiedInTheMiddleGoesOnTheSame) {
  SerialParallel serial;
  testing::for_each_tiny_model([&](const TinyModel& model) {
    const Weights weights = weights_of(model, DType::kF32);
    const std::vector<int32_t> tokens = testing::random_tokens(40, model.plan.dims.vocab_size, 2);
    Executor executor(model.plan, weights, 40, 40, serial);
    SequenceState first = executor.make_state(DType::kF32), second = executor.make_state(DType::kF32);
    executor.forward(first, std::span(tokens).first(33), {});
    second.copy_from(first);
    const float* logits = executor.forward(first, std::span(tokens).subspan(33), {}).logits;
    const std::vector<float> expected(logits, logits + model.plan.dims.vocab_size);
    logits = executor.forward(second, std::span(tokens).subspan(33), {}).logits;
    EXPECT_EQ(std::memcmp(logits, expected.data(), expected.size() * sizeof(float)), 0);
  });
}

TEST(EngineParity, ReplayedDepthsGiveTheSameBits) {
  SerialParallel serial;
  testing::for_each_tiny_model([&](const TinyModel& model) {
    const Weights weights = weights_of(model, DType::kF32);
    const std::vector<int32_t> tokens = testing::random_tokens(40, model.plan.dims.vocab_size, 3);
    Executor executor(model.plan, weights, 40, 40, serial);
    SequenceState state = executor.make_state(DType::kF32), again = executor.make_state(DType::kF32);
    const ForwardResult free = executor.forward(state, tokens, {});
    if (free.depths.empty()) return;
    const std::vector<uint8_t> depths(free.depths.begin(), free.depths.end());
    const std::vector<float> expected(free.logits, free.logits + model.plan.dims.vocab_size);
    ForwardOptions options;
    options.routing = RoutingMode::kReplay;
    options.replay_depths = depths;
    const ForwardResult replayed = executor.forward(again, tokens, options);
    EXPECT_EQ(std::memcmp(replayed.logits, expected.data(), expected.size() * sizeof(float)), 0);
    // Depths differ among tokens, or the test says nothing.
    EXPECT_GT(*std::max_element(depths.begin(), depths.end()),
              *std::min_element(depths.begin(), depths.end()));
  });
}

// A choice among the rows of a call is among all of them, whoever's logits are wanted.
TEST(EngineParity, TheShortcutLeavesTheRowsOfATopKChoice) {
  SerialParallel serial;
  int routed = 0;
  testing::for_each_tiny_model([&](const TinyModel& model) {
    if (!is_routed(model.plan) || model.plan.spec.router->kind != RouterKind::kExpertChoice) return;
    const Weights weights = weights_of(model, DType::kF32);
    const std::vector<int32_t> tokens = testing::random_tokens(40, model.plan.dims.vocab_size, 4);
    const auto vocab = static_cast<size_t>(model.plan.dims.vocab_size);
    Executor executor(model.plan, weights, 40, 40, serial);
    const auto last = [&](Logits wanted, std::vector<uint8_t>& depths) {
      SequenceState state = executor.make_state(DType::kF32);
      ForwardOptions options;
      options.routing = RoutingMode::kTopK;
      options.logits = wanted;
      const ForwardResult result = executor.forward(state, tokens, options);
      depths.assign(result.depths.begin(), result.depths.end());
      const float* const row = result.logits + (wanted == Logits::kAll ? 39 * vocab : 0);
      return std::vector<float>(row, row + vocab);
    };
    std::vector<uint8_t> of_all, of_last;
    EXPECT_EQ(last(Logits::kAll, of_all), last(Logits::kLast, of_last));
    EXPECT_EQ(of_all, of_last);
    ++routed;
  });
  EXPECT_GE(routed, 12);
}

// With a capacity of one for every pass, or thresholds that all reach, the router weighs and excludes nobody:
// every rule runs the recursion in full.
TEST(EngineParity, AtFullCapacityEveryRuleIsTheWholeRecursion) {
  SerialParallel serial;
  int routed = 0;
  testing::for_each_tiny_model([&](const TinyModel& given) {
    TinyModel model = given;
    if (!is_routed(model.plan)) return;
    for (Segment& segment : model.plan.segments) {
      if (!segment.router) continue;
      std::ranges::fill(segment.router->spec.capacity, 1.0);
      std::ranges::fill(segment.router->spec.threshold, -1e30);
    }
    const Weights weights = weights_of(model, DType::kF32);
    const std::vector<int32_t> tokens = testing::random_tokens(40, model.plan.dims.vocab_size, 3);
    const std::vector<uint8_t> all(40, static_cast<uint8_t>(most_passes(model.plan)));
    Executor executor(model.plan, weights, 40, 40, serial);
    const auto logits = [&](RoutingMode routing, float shift) {
      SequenceState state = executor.make_state(DType::kF32);
      ForwardOptions options;
      options.routing = routing;
      options.logits = Logits::kAll;
      options.depth_shift = shift;
      if (routing == RoutingMode::kReplay) options.replay_depths = all;
      const ForwardResult result = executor.forward(state, tokens, options);
      EXPECT_TRUE(std::ranges::equal(result.depths, all));
      return std::vector<float>(result.logits, result.logits + 40 * model.plan.dims.vocab_size);
    };
    const std::vector<float> expected = logits(RoutingMode::kReplay, 0);
    EXPECT_EQ(logits(RoutingMode::kThreshold, -100), expected);  // token choice: each further pass gains
    const bool expert = model.plan.spec.router->kind == RouterKind::kExpertChoice;
    if (expert) {
      EXPECT_EQ(logits(RoutingMode::kTopK, 0), expected);
    }
    ++routed;
  });
  EXPECT_GE(routed, 12);
}

// The residual streams of one call by their names in the trace.
std::map<std::string, std::vector<float>> streams_of(const TinyModel& model,
                                                     const std::vector<int32_t>& tokens,
                                                     const std::vector<uint8_t>& depths) {
  SerialParallel serial;
  const Weights weights = weights_of(model, DType::kF32);
  const auto count = static_cast<int64_t>(tokens.size());
  Executor executor(model.plan, weights, count, count, serial);
  std::map<std::string, std::vector<float>> streams;
  executor.set_trace([&](std::string_view name, const float* data, int64_t rows, int64_t columns) {
    streams[std::string(name)].assign(data, data + rows * columns);
  });
  SequenceState state = executor.make_state(DType::kF32);
  ForwardOptions options;
  options.logits = Logits::kAll;
  if (is_routed(model.plan)) {
    options.routing = RoutingMode::kReplay;
    options.replay_depths = depths;
  }
  executor.forward(state, tokens, options);
  return streams;
}

// With every row in every pass, what a router weighs is what the plain recursion of the same weights
// computes: of expert choice the first pass, of token choice all of them.
TEST(EngineParity, AtFullDepthTheRecursionIsThePlainOne) {
  for (const char* name :
       {"mor-middle_cycle-nr3", "mor-token", "mor-token-kv-shared", "mor-sambay", "mor-sambay-token"}) {
    SCOPED_TRACE(name);
    const ModelSpec spec =
        *load_spec(FATHOM_SOURCE_DIR "/configs/models/tiny/" + std::string(name) + ".toml");
    ModelSpec plain_spec = spec;
    plain_spec.router.reset();
    TinyModel routed{name, *build_plan(spec), {}}, plain{name, *build_plan(plain_spec), {}};
    std::map<std::string, std::vector<float>> by_name;
    for (size_t p = 0; p < routed.plan.params.size(); ++p) {
      routed.values.push_back(testing::random_values(routed.plan.params[p], p));
      by_name[routed.plan.params[p].name] = routed.values.back();
    }
    for (const Param& param : plain.plan.params) plain.values.push_back(by_name.at(param.name));

    const std::vector<int32_t> tokens = testing::random_tokens(30, spec.vocab_size, 7);
    const int32_t repeat = most_passes(routed.plan);
    const std::vector<uint8_t> all(30, static_cast<uint8_t>(repeat));
    auto from_routed = streams_of(routed, tokens, all), from_plain = streams_of(plain, tokens, all);
    const bool expert = spec.router->kind == RouterKind::kExpertChoice;
    const std::vector<Layer>& repeated = routed.plan.segments[1].layers;
    const int32_t first = repeated.front().index;
    const std::vector<float>& before = from_routed.at("layer." + std::to_string(first - 1));
    const std::vector<float>& after = from_routed.at(expert ? "pass.0" : "routed");
    const std::vector<float>& weight = from_routed.at(expert ? "router.0.weights" : "router.weights");
    const int32_t last = first + static_cast<int32_t>(repeated.size()) * (expert ? 1 : repeat) - 1;
    const std::vector<float>& recursion = from_plain.at("layer." + std::to_string(last));
    const size_t outputs = weight.size() / tokens.size(), dim = before.size() / tokens.size();
    double worst = 0, largest = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      const double w = weight[i / dim * outputs + outputs - 1];
      worst = worse_of(worst, std::fabs(after[i] - before[i] - w * recursion[i]));
      largest = std::max(largest, std::fabs(w * recursion[i]));
    }
    EXPECT_GT(largest, 0.01);
    EXPECT_LE(worst, 1e-5 * std::max(1.0, largest));
  }
}

TEST(EngineParity, TooManyRowsOrTokensEndTheCall) {
  SerialParallel serial;
  testing::for_each_tiny_model([&](const TinyModel& model) {
    const Weights weights = weights_of(model, DType::kF32);
    const std::vector<int32_t> tokens = testing::random_tokens(11, model.plan.dims.vocab_size, 3);
    Executor executor(model.plan, weights, 8, 10, serial);
    SequenceState state = executor.make_state(DType::kF32);
    EXPECT_THROW(executor.forward(state, std::span(tokens).first(9), {}), CheckFailure);
    executor.forward(state, std::span(tokens).first(8), {});
    EXPECT_THROW(executor.forward(state, std::span(tokens).subspan(8), {}), CheckFailure);
    const std::vector<int32_t> bad = {static_cast<int32_t>(model.plan.dims.vocab_size)};
    EXPECT_THROW(executor.forward(state, bad, {}), CheckFailure);
  });
}

}  // namespace
}  // namespace fathom
