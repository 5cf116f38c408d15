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
