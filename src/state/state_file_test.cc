#include "state/state_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>

#include "base/random.h"
#include "io/safetensors.h"
#include "io/safetensors_writer.h"
#include "plan/testing.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using namespace testing_plan;

class StateFile : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("fathom-state-" + std::to_string(::getpid()))).string();
    fs::create_directories(folder_);
    path_ = folder_ + "/state.safetensors";
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string folder_, path_;
};

// A state after `tokens` tokens; deeper copies of a cache hold fewer.
SequenceState filled(const ModelPlan& plan, int64_t tokens, int64_t context, int64_t max_rows, DType type) {
  SequenceState state(plan, context, max_rows, type);
  for (size_t s = 0; s < plan.slots.size(); ++s) {
    const Slot& slot = plan.slots[s];
    for (int32_t copy = 0; slot.persistent() && copy < slot.copies; ++copy) {
      if (slot.kind == SlotKind::kSsmState) {
        uint64_t i = 0;
        for (float& value : state.ssm(static_cast<SlotId>(s), copy).values()) value = normal(1, s, i++);
        continue;
      }
      const int64_t entry = slot.num_kv_heads * slot.head_dim, length = tokens / (copy + 1);
      std::vector<float> k(static_cast<size_t>(entry)), v(k.size());
      for (int64_t e = 0; e < length; ++e) {
        for (size_t i = 0; i < k.size(); ++i) {
          k[i] = normal(2, s, static_cast<uint64_t>(e * entry) + i);
          v[i] = normal(3, s, static_cast<uint64_t>(e * entry) + i);
        }
        state.kv(static_cast<SlotId>(s), copy).append(k.data(), v.data(), 1);
      }
    }
  }
  state.advance(tokens);
  return state;
}

void expect_same(const ModelPlan& plan, const SequenceState& a, const SequenceState& b) {
  EXPECT_EQ(a.position(), b.position());
  for (size_t s = 0; s < plan.slots.size(); ++s) {
    const Slot& slot = plan.slots[s];
    const auto id = static_cast<SlotId>(s);
    for (int32_t copy = 0; slot.persistent() && copy < slot.copies; ++copy) {
      if (slot.kind == SlotKind::kSsmState) {
        const std::span<const float> x = a.ssm(id, copy).values(), y = b.ssm(id, copy).values();
        EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end()));
        continue;
      }
      EXPECT_EQ(a.kv(id, copy).length(), b.kv(id, copy).length());
      for (const bool value : {false, true})
        EXPECT_EQ(a.kv(id, copy).saved(value), b.kv(id, copy).saved(value));
    }
  }
}

TEST_F(StateFile, RestoresWhatLaterTokensSee) {
  std::vector<int32_t> tokens(90);
  for (size_t t = 0; t < tokens.size(); ++t) tokens[t] = static_cast<int32_t>(t % 97);
  for (const ModelSpec& spec : {tiny(), tiny_mor(Sharing::kMiddleCycle, 3), hybrid("sambay", 8)}) {
    const ModelPlan plan = *build_plan(spec);
    for (DType type : {DType::kF32, DType::kBF16}) {
      for (int64_t position : {int64_t{0}, int64_t{3}, int64_t{87}}) {
        const SequenceState state = filled(plan, position, 100, 7, type);
        ASSERT_TRUE(write_state(path_, plan, state, {tokens, "m", "what the user said"}).ok());
        // Another context and other calls.
        SequenceState other(plan, 200, 31, type);
        const Result<StateFileContent> content = read_state(path_, plan, "m", other);
        ASSERT_TRUE(content.ok()) << content.error().message;
        EXPECT_EQ(content->tokens, tokens);
        EXPECT_EQ(content->note, "what the user said");
        expect_same(plan, state, other);
      }
    }
  }
}

// Ways to spoil a file that is otherwise right, and what is said.
struct Spoiled {
  const char* what;
  std::function<void(StringMap&, std::vector<TensorView>&)> spoil;
};

void drop(std::vector<TensorView>& tensors, const std::string& name) {
  std::erase_if(tensors, [&](const TensorView& tensor) { return tensor.spec.name == name; });
}

TensorView& named(std::vector<TensorView>& tensors, const std::string& name) {
  return *std::ranges::find_if(tensors, [&](const TensorView& tensor) { return tensor.spec.name == name; });
}

TEST_F(StateFile, EndsInOneSentenceWhereItIsWrong) {
  const ModelPlan plan = *build_plan(hybrid("sambay", 8));
  const SequenceState state = filled(plan, 30, 100, 7, DType::kF32);
  const std::string good = folder_ + "/good";
  ASSERT_TRUE(write_state(good, plan, state, {std::vector<int32_t>(40, 5), "m", ""}).ok());
  static const std::vector<int32_t> kBadTokens(40, 97);
  static const std::vector<float> kZeros(1000);
  static const std::vector<float> kInfinite = [] {
    std::vector<float> values(480);
    values.back() = -std::numeric_limits<float>::infinity();
    return values;
  }();
  const Spoiled cases[] = {
      {"it has no fathom_state, and so is no saved state",
       [](StringMap& metadata, auto&) { metadata.erase("fathom_state"); }},
      {"fathom_state is \"2\", this program reads 1",
       [](StringMap& metadata, auto&) { metadata["fathom_state"] = "2"; }},
      {"it belongs to another model, or to this one with matrices of another type",
       [](StringMap& metadata, auto&) { metadata["model"] = "n"; }},
      {"position is \"-3\", expected a number of tokens",
       [](StringMap& metadata, auto&) { metadata["position"] = "-3"; }},
      {"position is \"1e3\", expected a number of tokens",
       [](StringMap& metadata, auto&) { metadata["position"] = "1e3"; }},
      {"it holds 101 tokens, more than the context of 100",
       [](StringMap& metadata, auto&) { metadata["position"] = "101"; }},
      {"position 41 is behind its last token",
       [](StringMap& metadata, auto&) { metadata["position"] = "41"; }},
      {"token 97 is not in the vocabulary",
       [](StringMap&, std::vector<TensorView>& tensors) {
         named(tensors, "tokens") = view_of("tokens", DType::kI32, {40}, kBadTokens);
       }},
      {"tensor tokens is no list of int32",
       [](StringMap&, std::vector<TensorView>& tensors) {
         named(tensors, "tokens").spec.shape = {5, 8};
       }},
      {"tensor kv.5.0.values is missing",
       [](StringMap&, std::vector<TensorView>& tensors) { drop(tensors, "kv.5.0.values"); }},
      {"tensor ssm.0.0.state is missing",
       [](StringMap&, std::vector<TensorView>& tensors) { drop(tensors, "ssm.0.0.state"); }},
      {"tensor ssm.0.0.state has another type or shape than the model's slot",
       [](StringMap&, std::vector<TensorView>& tensors) {
         named(tensors, "ssm.0.0.state") = view_of("ssm.0.0.state", DType::kF32, {1000}, kZeros);
       }},
      {"it has no kv.5.0.length, and so is no saved state",
       [](StringMap& metadata, auto&) { metadata.erase("kv.5.0.length"); }},
      {"kv.5.0.length is \"-1\", expected a number of entries",
       [](StringMap& metadata, auto&) { metadata["kv.5.0.length"] = "-1"; }},
      {"kv.5.0.length is 31, expected 30, one of each token",
       [](StringMap& metadata, auto&) { metadata["kv.5.0.length"] = "31"; }},
      {"kv.5.0.length is 29, expected 30, one of each token",
       [](StringMap& metadata, auto&) { metadata["kv.5.0.length"] = "29"; }},
      // As many entries are held of a window after 29 tokens as after 30.
      {"kv.1.0.length is 29, expected 30, one of each token",
       [](StringMap& metadata, auto&) { metadata["kv.1.0.length"] = "29"; }},
      {"tensor kv.5.0.keys has shape [15, 32], expected [30, 16]",
       [](StringMap&, std::vector<TensorView>& tensors) {
         named(tensors, "kv.5.0.keys").spec.shape = {15, 32};
       }},
      {"tensor kv.5.0.values: element 479 is not a finite number",
       [](StringMap&, std::vector<TensorView>& tensors) {
         named(tensors, "kv.5.0.values") = view_of("kv.5.0.values", DType::kF32, {30, 16}, kInfinite);
       }},
      {"tensor ssm.0.0.state: element 7 is not a finite number",
       [](StringMap&, std::vector<TensorView>& tensors) {
         TensorView& spoiled = named(tensors, "ssm.0.0.state");
         static const std::vector<float> values = [&] {
           std::vector<float> all(spoiled.bytes.size() / sizeof(float));
           all[7] = std::numeric_limits<float>::quiet_NaN();
           return all;
         }();
         spoiled = view_of("ssm.0.0.state", DType::kF32, spoiled.spec.shape, values);
       }},
      {"it holds tensors that belong to no slot of the model",
       [](StringMap&, std::vector<TensorView>& tensors) {
         tensors.push_back(view_of("kv.6.0.keys", DType::kF32, {1000}, kZeros));
       }},
  };
  for (const Spoiled& spoiled : cases) {
    SCOPED_TRACE(spoiled.what);
    const Result<SafetensorsFile> file = SafetensorsFile::open(good);
    ASSERT_TRUE(file.ok());
    StringMap metadata = file->metadata();
    std::vector<TensorView> tensors;
    for (const TensorInfo& info : file->tensors())
      tensors.push_back({{info.name, info.dtype, info.shape}, file->bytes(info)});
    spoiled.spoil(metadata, tensors);
    ASSERT_TRUE(write_safetensors(path_, tensors, metadata).ok());
    SequenceState other = filled(plan, 20, 100, 7, DType::kF32);
    const Result<StateFileContent> content = read_state(path_, plan, "m", other);
    ASSERT_FALSE(content.ok());
    EXPECT_EQ(content.error().message, path_ + ": " + spoiled.what);
    expect_same(plan, other, filled(plan, 20, 100, 7, DType::kF32));
  }
  SequenceState narrow(plan, 100, 7, DType::kBF16);
  EXPECT_EQ(read_state(good, plan, "m", narrow).error().message,
            good + ": tensor kv.1.0.keys is F32, expected BF16 as the state's keys");
}

// Entries that a router cannot have left.
TEST_F(StateFile, HasNoMoreEntriesOfADepthThanCameThere) {
  ModelSpec merged = tiny_mor(Sharing::kMiddleCycle, 3);
  merged.kv = KvMode::kHybrid;
  for (const ModelSpec& spec : {tiny_mor(Sharing::kMiddleCycle, 3), merged}) {
    const ModelPlan plan = *build_plan(spec);
    const Segment& routed =
        *std::ranges::find_if(plan.segments, [](const Segment& s) { return s.router.has_value(); });
    const auto refusal = [&](const std::vector<SlotId>& slots, int32_t copy, int64_t more) {
      SequenceState state = filled(plan, 30, 100, 7, DType::kF32);  // 30, 15 and 10 entries
      const std::vector<float> zeros(16);
      for (const SlotId slot : slots) {
        for (int64_t e = 0; e < more; ++e) state.kv(slot, copy).append(zeros.data(), zeros.data(), 1);
      }
      EXPECT_TRUE(write_state(path_, plan, state, {std::vector<int32_t>(30, 5), "m", ""}).ok());
      SequenceState other(plan, 100, 7, DType::kF32);
      const Result<StateFileContent> content = read_state(path_, plan, "m", other);
      return content.ok() ? std::string("nothing") : content.error().message.substr(path_.size() + 2);
    };
    std::vector<SlotId> all;
    for (const Layer& layer : routed.layers) all.push_back(layer.writes.front());
    ASSERT_GT(all.size(), 1U);
    const std::string first = plan.slots[static_cast<size_t>(all[0])].name;
    const std::string second = plan.slots[static_cast<size_t>(all[1])].name;
    EXPECT_EQ(refusal(all, 2, 5), "nothing");
    EXPECT_EQ(refusal(all, 2, 6), first + ".2.length is 16, expected at most 15 as at the depth before");
    EXPECT_EQ(refusal({all[1]}, 2, 1),
              second + ".2.length is 11, expected 10 as of the segment's other layers at that depth");
  }
  // Without a router every token makes every pass.
  const ModelPlan plan = *build_plan(tiny_recursive(Sharing::kCycle, 2));
  ASSERT_TRUE(
      write_state(path_, plan, filled(plan, 30, 100, 7, DType::kF32), {std::vector<int32_t>(30, 5), "m", ""})
          .ok());
  SequenceState other(plan, 100, 7, DType::kF32);
  const Result<StateFileContent> content = read_state(path_, plan, "m", other);
  ASSERT_FALSE(content.ok());
  EXPECT_NE(content.error().message.find(".1.length is 15, expected 30, one of each token"),
            std::string::npos)
      << content.error().message;
}

TEST_F(StateFile, OfPartOfAFileIsRefused) {
  const ModelPlan plan = *build_plan(hybrid("sambay", 8));
  const SequenceState state = filled(plan, 30, 100, 7, DType::kF32);
  ASSERT_TRUE(write_state(path_, plan, state, {std::vector<int32_t>(30, 5), "m", ""}).ok());
  const auto size = fs::file_size(path_);
  for (const auto cut : {size - 1, size / 2, uintmax_t{7}, uintmax_t{0}}) {
    fs::resize_file(path_, cut);
    SequenceState other = filled(plan, 20, 100, 7, DType::kF32);
    EXPECT_FALSE(read_state(path_, plan, "m", other).ok()) << cut;
    expect_same(plan, other, filled(plan, 20, 100, 7, DType::kF32));
  }
}

TEST_F(StateFile, ThatIsMissingOrNotWantedLeavesTheStateAsItWas) {
  const ModelPlan plan = *build_plan(hybrid("sambay", 8));
  SequenceState other = filled(plan, 20, 100, 7, DType::kF32);
  EXPECT_FALSE(read_state(path_, plan, "m", other).ok());
  expect_same(plan, other, filled(plan, 20, 100, 7, DType::kF32));
  const SequenceState state = filled(plan, 30, 100, 7, DType::kF32);
  ASSERT_TRUE(write_state(path_, plan, state, {std::vector<int32_t>(30, 5), "m", "a poem"}).ok());
  const auto no_poems = [](const StateFileContent& content) -> Status {
    return content.note == "a poem" ? invalid("no poems") : Status();
  };
  const Result<StateFileContent> refused = read_state(path_, plan, "m", other, no_poems);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message, "no poems");
  expect_same(plan, other, filled(plan, 20, 100, 7, DType::kF32));
  // The same state takes a file that is right.
  ASSERT_TRUE(read_state(path_, plan, "m", other).ok());
  expect_same(plan, other, state);
}

}  // namespace
}  // namespace fathom
