// Documents that share a row: what one of them gives does not depend on the others, and dropout of attention
// goes by halves of the decoder.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "data/token_file_writer.h"
#include "train/run_data.h"
#include "train/testing.h"

namespace fathom::train {
namespace {

using testing::SmallModel;
using testing::values_of;

std::vector<float> logits_of(SmallModel& model, const Batch& batch, ForwardOptions options = {}) {
  options.want_logits = true;
  const ForwardResult result = Executor(model.plan, *model.parameters).forward(batch, options);
  const std::span<const float> logits = values_of(result.logits);
  return {logits.begin(), logits.end()};
}

// To the bit, where nothing is decided over the rows of a batch.
TEST(Segments, GiveTheLogitsOfTheirDocumentsAlone) {
  int compared = 0;
  testing::for_each_small_model([&](SmallModel& model) {
    if (is_routed(model.plan)) return;
    const std::vector<int64_t> lengths = {9, 1, 17, 5};
    const Batch drawn = testing::random_batch(model.plan, lengths);
    const auto part = [](const std::vector<int32_t>& values, kernels::RowRange rows) {
      return std::vector<int32_t>(values.begin() + rows.begin, values.begin() + rows.end);
    };
    Batch row;
    std::vector<float> alone;
    for (const kernels::RowRange& rows : drawn.sequences) {
      Batch one;
      for (Batch* batch : {&row, &one}) {
        batch->add(part(drawn.ids, rows), part(drawn.labels, rows), static_cast<int32_t>(rows.begin));
      }
      const std::vector<float> logits = logits_of(model, one);
      alone.insert(alone.end(), logits.begin(), logits.begin() + rows.size() * model.plan.dims.vocab_size);
    }
    EXPECT_EQ(row.positions.back(), 31);
    EXPECT_EQ(logits_of(model, row), alone);
    ++compared;
  });
  EXPECT_GE(compared, 20);
}

TEST(Segments, AreCutBehindEachEndOfADocumentAndPredictTheNext) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("fathom-segments-" + std::to_string(::getpid()))).string();
  auto writer = TokenFileWriter::create(path, {50, 9});
  for (const std::vector<int32_t>& document : {std::vector<int32_t>{1, 2, 3}, {4}, {5, 6}})
    ASSERT_TRUE(writer->add_document(document).ok());
  ASSERT_TRUE(writer->finish().ok());
  std::vector<TokenFile> files;
  files.push_back(TokenFile::open(path).value());
  auto stream = std::make_shared<TokenStream>(TokenStream::create(std::move(files)).value());
  DataConfig config;
  config.keep_documents_apart = config.segments_of_row = true;
  const auto batch_of = [&](int64_t length) {
    config.sequence_length = length;
    Batch batch;
    add_row(config, *PackedRows::create(stream, length + 1, length), 0, batch);
    return batch;
  };
  const Batch batch = batch_of(7);  // 1 2 3 | 4 | 5 with an end behind each document
  ASSERT_EQ(batch.sequences.size(), 3U);
  EXPECT_EQ(batch.sequences[1].begin, 4);
  EXPECT_EQ(batch.sequences[2].begin, 6);
  EXPECT_EQ(batch.ids, (std::vector<int32_t>{1, 2, 3, 9, 4, 9, 5}));
  EXPECT_EQ(batch.labels, (std::vector<int32_t>{2, 3, 9, 4, 9, 5, 6}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6}));
  // The row ends with a document: no empty segment follows.
  EXPECT_EQ(batch_of(6).sequences.size(), 2U);
  config.segments_of_row = false;
  EXPECT_EQ(batch_of(7).labels, (std::vector<int32_t>{2, 3, 9, -100, 9, -100, 6}));
  EXPECT_EQ(batch_of(7).positions, (std::vector<int32_t>{0, 1, 2, 3, 0, 1, 0}));
  std::filesystem::remove(path);
}

TEST(AttentionDropout, GoesByHalvesOfTheDecoderAndComesBackInBackward) {
  SmallModel model = testing::small_model("sambay", testing::spec_named("sambay"));
  const Batch batch = testing::random_batch(model.plan, {24, 9});
  ForwardOptions off, own, cross, evaluated;
  for (ForwardOptions* options : {&off, &own, &cross}) options->dropout = DropoutCall{3, 5};
  own.attention_dropout.own = cross.attention_dropout.cross = 0.4;
  evaluated.attention_dropout = {0.4, 0.4};
  std::map<std::string, std::vector<float>> seen;
  const auto watch = [&](ForwardOptions options, const std::string& prefix) {
    options.trace = [&seen, prefix](const std::string& name, const Tensor& tensor) {
      const std::span<const float> values = values_of(tensor);
      seen[prefix + name].assign(values.begin(), values.end());
    };
    return logits_of(model, batch, options);
  };
  const std::vector<float> plain = watch(off, "off.");
  EXPECT_NE(watch(own, "own."), plain);
  EXPECT_NE(watch(cross, "cross."), plain);
  EXPECT_EQ(watch(evaluated, "evaluated."), plain) << "nothing is dropped outside of training";
  // The self-decoder ends with layer L/2 + 1, whose keys the cross-decoder reads.
  const int64_t keys = model.plan.num_unrolled_layers() / 2 + 1;
  const std::string last = "layer." + std::to_string(keys);
  EXPECT_EQ(seen["cross." + last], seen["off." + last]);
  EXPECT_NE(seen["own.layer.1"], seen["off.layer.1"]);
  // The same call drops the same; another one does not.
  EXPECT_EQ(watch(own, "again."), watch(own, "own."));
  own.dropout->call = 6;
  EXPECT_NE(watch(own, "other."), watch(off, "off."));
  EXPECT_NE(seen["other." + last], seen["again." + last]);

  // A layer that runs again in backward drops what it dropped.
  std::vector<std::vector<float>> gradients[2];
  for (bool again : {false, true}) {
    ForwardOptions options = own;
    options.attention_dropout.cross = 0.4;
    options.gradient_checkpointing = again;
    model.parameters->clear_gradients();
    Executor(model.plan, *model.parameters).forward(batch, options).loss.backward();
    for (size_t p = 0; p < model.plan.params.size(); ++p) {
      const std::span<const float> gradient =
          std::as_const(*model.parameters).gradient(static_cast<int32_t>(p));
      gradients[again ? 1 : 0].emplace_back(gradient.begin(), gradient.end());
    }
  }
  EXPECT_EQ(gradients[0], gradients[1]);
}

}  // namespace
}  // namespace fathom::train
