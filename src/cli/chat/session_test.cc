// A conversation is one sequence: turn after turn gives what the whole of it gives at once, a save gives the
// same continuation, and an answer depends on what was said first.
#include "cli/chat/session.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/file.h"
#include "plan/testing.h"
#include "text/testing.h"
#include "weights/random_weights.h"

namespace fathom::cli::chat {
namespace {

namespace fs = std::filesystem;

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_);
    ModelSpec spec = testing_plan::hybrid("sambayda", 8);
    spec.vocab_size = 257;
    spec.initializer_range = 0.3;
    model_.plan = *build_plan(spec);
    model_.weights = std::make_unique<const Weights>(random_weights(model_.plan, 5, DType::kBF16, serial_));
    model_.codec = *TextCodec::open("bytes");
  }
  void TearDown() override { fs::remove_all(folder_); }

  SessionOptions options() const {
    SessionOptions options;
    options.context = 600;
    options.chunk = 16;
    options.max_tokens = 30;
    options.sampling = {.temperature = 0.8F, .seed = 7};
    return options;
  }
  Session session(const SessionOptions& options) {
    return {model_, *text::ChatTemplate::named("phi"), options, serial_, interrupted_};
  }
  std::string ask(Session& session, const std::string& message, Turn* turn = nullptr) {
    std::string answer;
    const Result<Turn> result = session.ask(message, [&](const AnswerPart& part) { answer += part.text; });
    EXPECT_TRUE(result.ok()) << result.error().message;
    if (turn != nullptr && result.ok()) *turn = *result;
    return answer;
  }

  SerialParallel serial_;
  LoadedModel model_;
  std::atomic<bool> interrupted_{false};
  std::string folder_ =
      (fs::temp_directory_path() / ("fathom-session-" + std::to_string(::getpid()))).string();
};

TEST_F(SessionTest, TurnsAreOneSequence) {
  Session turns = session(options());
  for (const char* message : {"My name is Ada.", "What is two and two?", "Who am I?"}) {
    Turn turn;
    const int64_t before = turns.tokens();
    ask(turns, message, &turn);
    EXPECT_EQ(turn.end, Turn::End::kLength);
    EXPECT_EQ(turn.generated_tokens, 30);
    // The last token of the answer before has not been read by then; nothing else is read again.
    EXPECT_EQ(turn.prompt_tokens, turns.tokens() - 30 - before + (before > 0 ? 1 : 0));
  }
  // All of it at once: the same last answer.
  const std::vector<int32_t>& whole = turns.sequence();
  Executor executor(model_.plan, *model_.weights, 600, 600, serial_);
  SequenceState state = executor.make_state(DType::kBF16);
  Generator generator(executor, model_.plan, 600);
  GenerateRequest request;
  request.prompt = std::span(whole).first(whole.size() - 30);
  request.max_tokens = 30;
  request.sampling = options().sampling;
  std::vector<int32_t> answer;
  const auto generated = generator.run(state, request, [&](const GeneratedToken& token) {
    answer.push_back(token.token);
    return true;
  });
  ASSERT_TRUE(generated.ok());
  EXPECT_EQ(answer, std::vector<int32_t>(whole.end() - 30, whole.end()));
}

TEST_F(SessionTest, AnAnswerDependsOnWhatWasSaidFirst) {
  Session ada = session(options()), bob = session(options());
  ask(ada, "My name is Ada.");
  ask(bob, "My name is Bob.");
  EXPECT_NE(ask(ada, "Who am I?"), ask(bob, "Who am I?"));
}

TEST_F(SessionTest, ASavedConversationGoesOnAsIfNothingHadHappened) {
  Session first = session(options());
  ask(first, "My name is Ada.");
  const std::string path = folder_ + "/kept";
  ASSERT_TRUE(first.save(path).ok());
  const std::string expected = ask(first, "Who am I?");
  // The same session, gone back; and one with another context that has talked of something else.
  ASSERT_TRUE(first.load(path).ok());
  EXPECT_EQ(ask(first, "Who am I?"), expected);
  SessionOptions wide = options();
  wide.context = 900;
  wide.chunk = 7;
  Session second = session(wide);
  ask(second, "Something else.");
  ASSERT_TRUE(second.load(path).ok());
  EXPECT_EQ(ask(second, "Who am I?"), expected);
}

TEST_F(SessionTest, WhatGivesNoNumbersIsRefusedAndNothingIsLost) {
  const std::string spoiled = "#";  // its embedding is not a number, and the head has weights of its own
  ModelSpec spec = model_.plan.spec;
  spec.tie_word_embeddings = false;
  model_.plan = *build_plan(spec);
  Weights weights = random_weights(model_.plan, 5, DType::kF32, serial_);
  const int32_t embedding = model_.plan.embedding.at(0);
  auto* const table = static_cast<float*>(const_cast<void*>(weights.at(embedding).data));
  table[spoiled[0] * model_.plan.dims.hidden_size] = std::numeric_limits<float>::quiet_NaN();
  model_.weights = std::make_unique<const Weights>(std::move(weights));
  Session spared = session(options()), hit = session(options());
  for (Session* session : {&spared, &hit}) ask(*session, "My name is Ada.");
  const std::vector<int32_t> before = hit.sequence();
  const Result<Turn> turn = hit.ask(spoiled, [](const AnswerPart&) {});
  ASSERT_FALSE(turn.ok());
  EXPECT_NE(turn.error().message.find("is NaN or infinite; --check-tensors"), std::string::npos)
      << turn.error().message;
  EXPECT_EQ(hit.sequence(), before);
  EXPECT_EQ(ask(hit, "Who am I?"), ask(spared, "Who am I?"));
  EXPECT_EQ(hit.sequence(), spared.sequence());
}

TEST_F(SessionTest, WhatDoesNotFitIsRefusedAndNothingIsLost) {
  SessionOptions narrow = options();
  narrow.context = 130;
  Session session = this->session(narrow);
  ask(session, "Hi.");
  const int64_t before = session.tokens();
  const Result<Turn> turn = session.ask(std::string(200, 'x'), [](const AnswerPart&) {});
  ASSERT_FALSE(turn.ok());
  EXPECT_EQ(session.tokens(), before);
  Turn last;
  ask(session, "Go on.", &last);
  EXPECT_EQ(last.end, Turn::End::kContext);
  EXPECT_EQ(session.tokens(), 130);
  session.clear();
  EXPECT_EQ(session.tokens(), 0);
  ask(session, "Hi.");
}

// A conversation that was answered once, and one that was not yet, with a system message each.
TEST_F(SessionTest, AFailedLoadLeavesTheConversationAsItWas) {
  SessionOptions named = options();
  named.system = "You are terse.";
  const std::string path = folder_ + "/kept", shown = path + "-";
  {
    Session kept = session(named);
    ask(kept, "My name is Bob.");
    ASSERT_TRUE(kept.save(path).ok());
    Session chatml(model_, *text::ChatTemplate::named("chatml"), named, serial_, interrupted_);
    ask(chatml, "My name is Bob.");
    ASSERT_TRUE(chatml.save(shown + "chatml").ok());
    SessionOptions wide = named;
    wide.context = 2000;
    Session longer = session(wide);
    ask(longer, std::string(700, 'x'));
    ASSERT_TRUE(longer.save(shown + "longer").ok());
    LoadedModel other;
    other.plan = model_.plan;
    other.weights = std::make_unique<const Weights>(random_weights(other.plan, 6, DType::kBF16, serial_));
    other.codec = *TextCodec::open("bytes");
    Session foreign(other, *text::ChatTemplate::named("phi"), named, serial_, interrupted_);
    ask(foreign, "My name is Bob.");
    ASSERT_TRUE(foreign.save(shown + "foreign").ok());
  }
  fs::copy_file(path, shown + "cut");
  fs::resize_file(shown + "cut", fs::file_size(path) / 2);
  for (const bool answered : {false, true}) {
    Session untouched = session(named);
    if (answered) ask(untouched, "My name is Ada.");
    const std::string expected = ask(untouched, "Who am I?");
    for (const char* bad : {"none", "cut", "foreign", "chatml", "longer"}) {
      SCOPED_TRACE(bad);
      Session tried = session(named);
      if (answered) ask(tried, "My name is Ada.");
      EXPECT_FALSE(tried.load(shown + bad).ok());
      EXPECT_EQ(ask(tried, "Who am I?"), expected);
      EXPECT_EQ(tried.sequence(), untouched.sequence());
    }
  }
}

TEST_F(SessionTest, AnInterruptedAnswerStays) {
  Session session = this->session(options());
  int parts = 0;
  const Result<Turn> turn = session.ask("Hi.", [&](const AnswerPart&) { interrupted_ = ++parts == 3; });
  ASSERT_TRUE(turn.ok());
  EXPECT_EQ(turn->end, Turn::End::kInterrupted);
  EXPECT_LT(turn->generated_tokens, 30);
  interrupted_ = false;
  Turn next;
  ask(session, "Go on.", &next);
  EXPECT_EQ(next.end, Turn::End::kLength);
}

TEST_F(SessionTest, AMessageWhoseReadingIsInterruptedIsReadOn) {
  const std::string message(100, 'm');
  Session cut = session(options()), whole = session(options());
  for (Session* each : {&cut, &whole}) ask(*each, "Hi.");
  interrupted_ = true;
  Turn turn;
  EXPECT_EQ(ask(cut, message, &turn), "");
  interrupted_ = false;
  EXPECT_EQ(turn.end, Turn::End::kInterrupted);
  EXPECT_EQ(turn.generated_tokens, 0);
  // One chunk has been read; the rest of the message is read with the next one.
  Turn next;
  const int64_t before = cut.tokens();
  ask(cut, "Go on.", &next);
  EXPECT_EQ(next.end, Turn::End::kLength);
  EXPECT_EQ(next.prompt_tokens, turn.prompt_tokens - options().chunk + cut.tokens() - 30 - before);
}

TEST_F(SessionTest, ALoadedConversationStartsAnewBehindItsOwnSystemMessage) {
  SessionOptions named = options();
  named.system = "You are terse.";
  const std::string path = folder_ + "/kept";
  Session kept = session(named);
  const std::vector<int32_t> beginning = kept.sequence();
  ask(kept, "Hi.");
  ASSERT_TRUE(kept.save(path).ok());
  Session plain = session(options());
  EXPECT_TRUE(plain.sequence().empty());
  ASSERT_TRUE(plain.load(path).ok());
  plain.clear();
  EXPECT_EQ(plain.sequence(), beginning);
}

TEST_F(SessionTest, TagsOfReasoningAreTokensWhereTheTokenizerHasThem) {
  SessionOptions silent = options();
  silent.reasoning_budget = 0;
  const auto count = [&](const std::vector<int32_t>& ids, int32_t id) { return std::ranges::count(ids, id); };
  nlohmann::json json = text::testing::small_json();
  for (const bool special : {false, true}) {
    if (special) {
      json["added_tokens"].push_back({{"id", 301}, {"content", "<think>"}, {"special", true}});
      json["added_tokens"].push_back({{"id", 302}, {"content", "</think>"}, {"special", true}});
    }
    const std::string file = folder_ + "/tokenizer.json";
    ASSERT_TRUE(write_file_atomic(file, json.dump()).ok());
    ModelSpec spec = testing_plan::hybrid("sambayda", 8);
    spec.vocab_size = 303;
    model_.plan = *build_plan(spec);
    model_.weights = std::make_unique<const Weights>(random_weights(model_.plan, 5, DType::kBF16, serial_));
    model_.codec = *TextCodec::open(file);
    Session session = this->session(silent);
    ask(session, "<think>");  // of a user: letters
    const std::vector<int32_t> asked(session.sequence().begin(), session.sequence().end() - 30);
    EXPECT_EQ(count(asked, 301), special ? 1 : 0);
    EXPECT_EQ(count(asked, 302), special ? 1 : 0);
    // The user's, those of two markers of messages, which this tokenizer does not have, and the tags.
    EXPECT_EQ(count(asked, '<'), special ? 3 : 5);
  }
}

TEST_F(SessionTest, AConversationOfAnotherTemplateIsRefused) {
  Session phi = session(options());
  ask(phi, "Hi.");
  const std::string path = folder_ + "/kept";
  ASSERT_TRUE(phi.save(path).ok());
  Session chatml(model_, *text::ChatTemplate::named("chatml"), options(), serial_, interrupted_);
  const Status status = chatml.load(path);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message, path + ": it is no conversation in the chat template chatml");
  ask(chatml, "Hi.");
}

}  // namespace
}  // namespace fathom::cli::chat
