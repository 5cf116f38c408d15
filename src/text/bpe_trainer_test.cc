#include "text/bpe_trainer.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/file.h"
#include "text/testing.h"
#include "text/tokenizer_writer.h"

namespace fathom::text {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

BpeTrainer trainer(int32_t vocab_size) {
  Result<BpeTrainer> made = BpeTrainer::create({.vocab_size = vocab_size});
  if (!made.ok()) throw std::runtime_error(made.error().message);
  return std::move(made).value();
}

std::string corpus_start(size_t bytes) {
  const Result<std::string> text = read_file(std::string(FATHOM_SOURCE_DIR) + "/data/corpus.valid.txt");
  return text.ok() ? text->substr(0, bytes) : std::string();
}

TEST(BpeTrainer, MergesTheMostFrequentPairAndTheLastAmongEquals) {
  BpeTrainer few = trainer(260);
  few.feed("ab ab ab cd cd cd ef");
  // " ab" and " cd" are equally frequent; of the pairs "ab", " a", "cd", " c" (3 times without the first "
  // a") the one with the greatest bytes comes first.
  EXPECT_THAT(few.train().merges, ElementsAre(Pair("c", "d"), Pair("a", "b"), Pair(" ", "cd")));
}

TEST(BpeTrainer, TheResultDoesNotDependOnHowTheTextIsCut) {
  std::string text;
  RandomStream random(6, 0);
  while (text.size() < 2'300'000) text += corpus_start(100'000) + random_text(random, 2000);
  BpeTrainer whole = trainer(700);
  whole.feed(text);
  const std::string expected = tokenizer_json(whole.train());
  for (size_t step : {size_t{7919}, size_t{1'500'000}}) {
    BpeTrainer parts = trainer(700);
    for (size_t at = 0; at < text.size(); at += step) parts.feed(std::string_view(text).substr(at, step));
    EXPECT_EQ(tokenizer_json(parts.train()), expected) << step;
  }
}

TEST(BpeTrainer, WhatItLearnsEncodesItsText) {
  const std::string text = corpus_start(100'000);
  ASSERT_EQ(text.size(), 100'000U);
  BpeTrainer learner = trainer(1000);
  learner.feed(text);
  const TrainedBpe trained = learner.train();
  EXPECT_EQ(trained.tokens.size(), 1000U);
  const Result<Tokenizer> tokenizer = Tokenizer::from_json(tokenizer_json(trained));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  const std::vector<int32_t> ids = tokenizer->encode(text);
  EXPECT_EQ(tokenizer->decode(ids), text);
  EXPECT_LT(ids.size(), text.size() / 2);
  // Every byte can be encoded, also those the text does not have.
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("\xE2\x82\xAC\x01")), "\xE2\x82\xAC\x01");
}

TEST(BpeTrainer, SpecialTokensAreNoPartOfAnyWord) {
  BpeTrainer learner = trainer(300);
  for (int i = 0; i < 100; ++i) learner.feed("x<|endoftext|>y ");
  const TrainedBpe trained = learner.train();
  EXPECT_EQ(trained.tokens[0], "<|endoftext|>");
  EXPECT_THAT(trained.merges, ElementsAre(Pair(" ", "x")));
}

TEST(BpeTrainer, WhatWasLearntFromIsForgotten) {
  BpeTrainer learner = trainer(260);
  learner.feed("ab ab ab");
  EXPECT_THAT(learner.train().merges, ElementsAre(Pair("a", "b"), Pair(" ", "ab")));
  learner.feed("cd cd");
  EXPECT_THAT(learner.train().merges, ElementsAre(Pair("c", "d")));
}

TEST(BpeTrainer, StopsWhenNothingOccursTwice) {
  BpeTrainer learner = trainer(4096);
  learner.feed("abcdefg");
  EXPECT_EQ(learner.train().tokens.size(), 257U);
}

TEST(BpeTrainer, RefusesOptionsThatCannotWork) {
  const struct {
    BpeTrainOptions options;
    const char* message;
  } cases[] = {
      {{.vocab_size = 256}, "a vocabulary of 256 was asked for, expected 257"},
      {{.vocab_size = -1}, "a vocabulary of -1 was asked for"},
      {{.special_tokens = {"<a>", "<a>"}}, "special token \"<a>\" is given twice"},
      {{.special_tokens = {"a b"}}, "special token \"a b\" must be two or more printable ASCII characters"},
      {{.special_tokens = {"x"}}, "special token \"x\" must be two or more printable ASCII characters"},
  };
  for (const auto& c : cases) {
    const Result<BpeTrainer> made = BpeTrainer::create(c.options);
    ASSERT_FALSE(made.ok()) << c.message;
    EXPECT_THAT(made.error().message, HasSubstr(c.message));
  }
}

TEST(BpeTrainer, MatchesTheReferenceMerges) {
  const char* variable = std::getenv("FATHOM_SHARED");
  const std::filesystem::path shared =
      variable != nullptr ? variable : std::string(FATHOM_SOURCE_DIR) + "/../shared";
  const std::filesystem::path folder = shared / "data" / "tokenizers" / "bpe_reference";
  if (!std::filesystem::exists(folder)) {
    GTEST_SKIP()
        << "needs FATHOM_SHARED/data/tokenizers/bpe_reference: a corpus and the merges learnt from it";
  }
  const Result<std::string> corpus = read_file((folder / "corpus.en").string());
  const Result<std::string> merges = read_file((folder / "train-bpe-reference-merges.txt").string());
  ASSERT_TRUE(corpus.ok() && merges.ok());
  BpeTrainer learner = trainer(500);
  learner.feed(*corpus);
  std::string ours;
  for (const auto& [left, right] : learner.train().merges) {
    ours += to_byte_characters(left) + " " + to_byte_characters(right) + "\n";
  }
  EXPECT_EQ(ours, *merges);
}

}  // namespace
}  // namespace fathom::text
