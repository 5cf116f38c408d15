// Packed rows are cut as training cuts them, and documents are scored whole.
#include "eval/perplexity.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "data/token_file_writer.h"
#include "plan/testing.h"
#include "weights/random_weights.h"

namespace fathom::eval {
namespace {

using Ids = std::vector<int32_t>;

// Documents of 3, 4 and 6 tokens with their ends.
class Packed : public ::testing::Test {
 protected:
  void SetUp() override {
    auto writer = TokenFileWriter::create(path_, {97, 96});
    ASSERT_TRUE(writer.ok());
    for (const Ids& document : {Ids{1, 2}, Ids{3, 4, 5}, Ids{6, 7, 8, 9, 10}})
      ASSERT_TRUE(writer->add_document(document).ok());
    ASSERT_TRUE(writer->finish().ok());
  }
  void TearDown() override { std::filesystem::remove(path_); }
  PackedRows rows(int64_t length, int64_t stride) const {
    std::vector<TokenFile> files;
    files.push_back(std::move(TokenFile::open(path_)).value());
    TokenStream stream = std::move(TokenStream::create(std::move(files))).value();
    return *PackedRows::create(std::make_shared<const TokenStream>(std::move(stream)), length, stride);
  }
  std::string path_ =
      (std::filesystem::temp_directory_path() / ("perplexity-" + std::to_string(::getpid()) + ".tokens"))
          .string();
};

std::string told(const std::vector<Request>& requests) {
  std::string text;
  for (const Request& request : requests) {
    for (int32_t id : request.tokens) text += std::to_string(id) + " ";
    text += "fed " + std::to_string(request.inputs) + " from " + std::to_string(request.first_target) + "; ";
  }
  return text;
}

TEST_F(Packed, ARowIsOneSequence) {
  EXPECT_EQ(told(requests_of_row(rows(6, 5), 0, {.sequence_length = 5})), "1 2 96 3 4 5 fed 5 from 1; ");
  EXPECT_EQ(told(requests_of_row(rows(6, 5), 1, {.sequence_length = 5})), "5 96 6 7 8 9 fed 5 from 1; ");
  EXPECT_EQ(told(requests_of_row(rows(5, 5), 0, {.sequence_length = 5})), "1 2 96 3 4 fed 5 from 1; ");
}

TEST_F(Packed, DocumentsKeptApartDoNotPredictEachOther) {
  const PackedSettings apart = {.sequence_length = 5, .keep_documents_apart = true};
  EXPECT_EQ(told(requests_of_row(rows(6, 5), 0, apart)), "1 2 96 fed 3 from 1; 3 4 5 fed 2 from 1; ");
  EXPECT_EQ(told(requests_of_row(rows(6, 5), 1, apart)), "5 96 fed 2 from 1; 6 7 8 9 fed 3 from 1; ");
  EXPECT_EQ(told(requests_of_row(rows(5, 5), 0, apart)), "1 2 96 fed 3 from 1; 3 4 fed 2 from 1; ");
}

TEST_F(Packed, TheMeanIsOverPredictions) {
  const ModelPlan plan = *build_plan(testing_plan::tiny());
  SerialParallel serial;
  const Weights weights = random_weights(plan, 3, DType::kF32, serial);
  Scorer scorer(plan, weights, {.max_inputs = 5}, serial);
  int64_t calls = 0;
  const auto result = score_packed(rows(6, 5), 2, {.sequence_length = 5}, scorer, [&](const PackedResult&) {
    ++calls;
    return Status();
  });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(result->rows, 2);
  EXPECT_EQ(result->predictions, 10);
  EXPECT_NEAR(result->nll(), std::log(97), 0.5);  // a fresh model knows nothing
}

// The model is causal: what the first buckets hold is what a shorter row gives.
TEST_F(Packed, BucketsByContextAreThoseOfShorterRows) {
  const ModelPlan plan = *build_plan(testing_plan::tiny());
  SerialParallel serial;
  const Weights weights = random_weights(plan, 3, DType::kF32, serial);
  Scorer scorer(plan, weights, {.max_inputs = 5, .chunk = 3, .each_target = true}, serial);
  const auto scored = [&](bool apart, int64_t bucket) {
    const auto result =
        score_packed(rows(6, 5), 2, {.sequence_length = 5, .keep_documents_apart = apart, .bucket = bucket},
                     scorer, [](const PackedResult&) { return Status(); });
    EXPECT_TRUE(result.ok());
    return *result;
  };
  const PackedResult result = scored(false, 2);
  ASSERT_EQ(result.by_context.size(), 3U);
  double so_far = 0;
  for (const auto& [b, fed] : {std::pair{0, 2}, {1, 4}, {2, 5}}) {
    const ContextBucket& bucket = result.by_context[static_cast<size_t>(b)];
    EXPECT_EQ(bucket.predictions, b == 2 ? 2 : 4);
    so_far += bucket.log_likelihood;
    double shorter = 0;
    for (const int64_t row : {0, 1}) {
      Request request = requests_of_row(rows(6, 5), row, {.sequence_length = 5}).front();
      request.tokens.resize(static_cast<size_t>(fed) + 1);
      request.inputs = fed;
      shorter += scorer.score({&request, 1}).front().log_likelihood;
    }
    EXPECT_NEAR(so_far, shorter, 1e-12);
  }
  EXPECT_NEAR(so_far, result.log_likelihood, 1e-12);

  // Context begins with the document where documents are kept apart: 2, 2, 1 and 3 tokens are predicted.
  const PackedResult apart = scored(true, 2);
  ASSERT_EQ(apart.by_context.size(), 2U);
  EXPECT_EQ(apart.by_context[0].predictions, 2 + 2 + 1 + 2);
  EXPECT_EQ(apart.by_context[1].predictions, 1);
  EXPECT_TRUE(scored(false, 0).by_context.empty());
}

TEST(Rolling, CountsWordsAndBytesOfTheText) {
  const ModelPlan plan = *build_plan(testing_plan::tiny());
  SerialParallel serial;
  const Weights weights = random_weights(plan, 3, DType::kF32, serial);
  const TextEncoder encoder = {[](std::string_view text) {
                                 Ids ids;
                                 for (const char c : text) ids.push_back(static_cast<uint8_t>(c) % 97);
                                 return ids;
                               },
                               96};
  Scorer scorer(plan, weights, {.max_inputs = 8}, serial);
  RollingResult result;
  int windows = 0;
  const auto count = [&] {
    ++windows;
    return Status();
  };
  ASSERT_TRUE(add_document("one two caf\u00e9 four", encoder, 8, scorer, count, result).ok());
  ASSERT_TRUE(add_document("five", encoder, 8, scorer, count, result).ok());
  EXPECT_EQ(windows, 4);
  EXPECT_EQ(result.documents, 2);
  EXPECT_EQ(result.words, 5);
  EXPECT_EQ(result.bytes, 22);
  EXPECT_EQ(result.tokens, 22);
  EXPECT_NEAR(result.word_perplexity(), std::exp(-result.log_likelihood / 5), 1e-9);
  EXPECT_NEAR(result.byte_perplexity(), std::exp(-result.log_likelihood / 22), 1e-12);
  EXPECT_NEAR(result.bits_per_byte(), std::log2(result.byte_perplexity()), 1e-12);
  EXPECT_NEAR(std::log(result.byte_perplexity()), std::log(97), 0.5);
}

}  // namespace
}  // namespace fathom::eval
