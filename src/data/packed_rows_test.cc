// Rows are slices of the stream; cuts fall where documents start; the reference rows can be expressed.
#include "data/packed_rows.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/json.h"
#include "data/row_iterator.h"
#include "data/text_documents.h"
#include "data/token_file_writer.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

class PackedRowsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = (fs::temp_directory_path() / ("fathom-rows-" + std::to_string(::getpid()) + ".tokens")).string();
  }
  void TearDown() override { fs::remove(path_); }

  // Ids 0, 1, 2, ... in documents of the lengths given.
  std::shared_ptr<const TokenStream> stream_of(const std::vector<int>& lengths) const {
    auto writer = TokenFileWriter::create(path_, {100000, std::nullopt});
    int32_t id = 0;
    for (int length : lengths) {
      std::vector<int32_t> document;
      for (int i = 0; i < length; ++i) document.push_back(id++);
      EXPECT_TRUE(writer->add_document(document).ok());
    }
    EXPECT_TRUE(writer->finish().ok());
    std::vector<TokenFile> files;
    files.push_back(TokenFile::open(path_).value());
    return std::make_shared<TokenStream>(TokenStream::create(std::move(files)).value());
  }
  std::string path_;
};

TEST_F(PackedRowsTest, RowsAreSlicesAndNoneIsLeftOut) {
  const auto stream = stream_of({40, 60});
  for (int64_t length : {1, 7, 10, 99, 100}) {
    for (int64_t stride : {1, 6, 7, 10, 200}) {
      const auto rows = PackedRows::create(stream, length, stride);
      ASSERT_TRUE(rows.ok());
      ASSERT_GE(rows->rows(), 1);
      const int64_t last_end = (rows->rows() - 1) * stride + length;
      EXPECT_LE(last_end, 100);
      EXPECT_GT(last_end + stride, 100);
      for (int64_t r = 0; r < rows->rows(); ++r) {
        const auto row = rows->row(r);
        ASSERT_EQ(static_cast<int64_t>(row.size()), length);
        for (int64_t i = 0; i < length; ++i) ASSERT_EQ(row[static_cast<size_t>(i)], r * stride + i);
      }
    }
  }
}

TEST_F(PackedRowsTest, CutsFallOnDocuments) {
  const std::vector<int> lengths = {3, 1, 9, 2, 2, 20, 1};
  const auto stream = stream_of(lengths);
  const auto rows = PackedRows::create(stream, 6, 5);
  ASSERT_TRUE(rows.ok());
  int64_t inner = 0;
  for (int64_t r = 0; r < rows->rows(); ++r) {
    const auto cuts = rows->document_cuts(r);
    ASSERT_EQ(cuts.front(), 0);
    for (int64_t i = 1; i < 6; ++i) {
      const bool cut = std::find(cuts.begin(), cuts.end(), i) != cuts.end();
      EXPECT_EQ(cut, stream->document_of(r * 5 + i) != stream->document_of(r * 5 + i - 1)) << r << " " << i;
      inner += cut;
    }
    EXPECT_TRUE(std::is_sorted(cuts.begin(), cuts.end()));
  }
  EXPECT_GT(inner, 0);
}

TEST_F(PackedRowsTest, ImpossibleRowsAreRefused) {
  const auto stream = stream_of({10});
  EXPECT_EQ(PackedRows::create(stream, 11, 1).error().message,
            "the data holds 10 tokens, not even one row of 11");
  EXPECT_EQ(PackedRows::create(stream, 0, 1).error().message, "rows of 0 tokens, expected 1 to 2147483647");
  EXPECT_EQ(PackedRows::create(stream, 5, 0).error().message, "a stride of 0 tokens, expected at least 1");
}

// The published training data: files in a given order as bytes, and rows by an affine rule.
class ReferenceRows : public PackedRowsTest {
 protected:
  void SetUp() override {
    PackedRowsTest::SetUp();
    const char* named = std::getenv("FATHOM_SHARED");
    shared_ = named != nullptr ? named : FATHOM_SOURCE_DIR "/../shared";
    if (!fs::exists(shared_ / "fixtures/trained/data/train_files.json") ||
        !fs::exists(shared_ / "data/text")) {
      GTEST_SKIP() << "needs FATHOM_SHARED/fixtures/trained/data and FATHOM_SHARED/data: the reference text";
    }
    recipe_ = read_json_file((shared_ / "fixtures/trained/data/train_files.json").string()).value();
  }

  void build(const char* list) {
    std::vector<std::string> files;
    for (const auto& entry : recipe_[list]) {
      files.push_back((shared_ / "data" / entry["file"].get<std::string>()).string());
    }
    const auto bytes = [](std::string_view text) -> Result<std::vector<int32_t>> {
      return tokenize_bytes(text);
    };
    SerialParallel serial;
    const auto summary =
        write_shard_from_text(files, {}, bytes, {kByteVocabSize, kByteEndOfDocument}, path_, serial);
    ASSERT_TRUE(summary.ok()) << summary.error().message;
    EXPECT_EQ(summary->documents, static_cast<int64_t>(files.size()));
    std::vector<TokenFile> opened;
    opened.push_back(TokenFile::open(path_).value());
    stream_ = std::make_shared<TokenStream>(TokenStream::create(std::move(opened)).value());
  }

  fs::path shared_;
  nlohmann::json recipe_;
  std::shared_ptr<const TokenStream> stream_;
};

TEST_F(ReferenceRows, TheTrainingStreamAndItsRowsAreThePublishedOnes) {
  build("train_files");
  EXPECT_EQ(stream_->tokens(), recipe_["train"]["tokens"]);
  EXPECT_EQ(to_hex(stream_->files()[0].data_hash()), recipe_["train"]["uint16_stream_sha256"]);
  struct Family {
    int64_t length, stride, batch, rows;
  };
  for (const Family& family : {Family{512, 512, 64, 44784}, Family{257, 256, 128, 89569}}) {
    const auto rows = PackedRows::create(stream_, family.length, family.stride);
    ASSERT_TRUE(rows.ok());
    ASSERT_EQ(rows->rows(), family.rows);
    OrderSettings settings;
    settings.kind = OrderKind::kAffine;
    settings.multiplier = 10007;
    RowIterator order(RowOrder::create(settings, rows->rows()).value(), stream_->fingerprint());
    for (int64_t step = 0; step < 1300; ++step) {
      const auto batch = order.next_batch(family.batch);
      for (int64_t i = 0; i < family.batch; ++i) {
        ASSERT_EQ(batch[static_cast<size_t>(i)], ((family.batch * step + i) * 10007) % family.rows);
      }
    }
    EXPECT_GT(order.epoch(), 0);
  }
}

TEST_F(ReferenceRows, TheValidationFileIsWhatItsRuleBuilds) {
  build("val_files");
  const auto stored = TokenFile::open_raw((shared_ / "fixtures/trained/data/val.bin").string(),
                                          TokenWidth::kU16, kByteVocabSize, kByteEndOfDocument);
  ASSERT_TRUE(stored.ok()) << stored.error().message;
  EXPECT_EQ(stored->data_hash(), stream_->files()[0].data_hash());
  EXPECT_EQ(to_hex(stored->data_hash()), recipe_["val"]["uint16_stream_sha256"]);
  EXPECT_EQ(stored->documents(), stream_->documents());
}

}  // namespace
}  // namespace fathom
