// What the writer writes, the reader returns; tests/faults has the broken files that it refuses.
#include "io/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>

#include "base/half.h"
#include "io/safetensors_writer.h"
#include "io/tensor_statistics.h"

namespace fathom {
namespace {

using namespace std::string_literals;
namespace fs = std::filesystem;

class Safetensors : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("fathom-safetensors-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override {
    set_file_fault({});
    fs::remove_all(folder_);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  fs::path folder_;
};

std::string length_prefix(uint64_t length) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(length >> (8 * i) & 0xff);
  return out;
}

std::string file_of(const std::string& header, size_t data_bytes = 0) {
  return length_prefix(header.size()) + header + std::string(data_bytes, '\1');
}

Result<SafetensorsFile> parse(const std::string& file) {
  return SafetensorsFile::parse({reinterpret_cast<const uint8_t*>(file.data()), file.size()});
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets +
         "}";
}

TEST_F(Safetensors, ErrorsOfAFileNameItsPath) {
  ASSERT_TRUE(write_file_atomic(path("x.safetensors"), file_of("[]")).ok());
  EXPECT_EQ(SafetensorsFile::open(path("x.safetensors")).error().message,
            path("x.safetensors") + ": the header is an array, expected an object");
  EXPECT_EQ(SafetensorsFile::open(path("absent")).error().kind, ErrorKind::kNotFound);
}

TEST_F(Safetensors, EveryTruncationOfAGoodFileIsRefused) {
  const std::string whole = file_of(
      "{" + tensor("a", "F32", "[2]", "[0,8]") + "," + tensor("b", "BF16", "[1]", "[8,10]") + "}", 10);
  ASSERT_TRUE(parse(whole).ok());
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(parse(whole.substr(0, length)).ok()) << length;
  }
}

TEST_F(Safetensors, ScalarsEmptyTensorsAndPaddedHeadersAreLegal) {
  const std::string bytes =
      file_of(" \n{" + tensor("s", "F32", "[]", "[0,4]") + "," + tensor("e", "F32", "[0,5]", "[4,4]") + "," +
                  tensor("d", "F32", "[3,0]", "[0,0]") + "} \t\r\n ",
              4);
  const auto file = parse(bytes);
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_EQ(file->tensors().size(), 3U);
  EXPECT_EQ(file->tensors()[0].name, "d");
  EXPECT_EQ(file->tensors()[1].name, "s");
  EXPECT_EQ(file->tensors()[2].name, "e");
  EXPECT_EQ(file->find("s")->elements(), 1U);
  EXPECT_EQ(file->find("e")->elements(), 0U);
  EXPECT_EQ(file->find("x"), nullptr);
}

TEST_F(Safetensors, WhatIsWrittenIsRead) {
  const std::vector<float> f32 = {1, -2, std::numeric_limits<float>::quiet_NaN(), 0.5F, 3, 4};
  const std::vector<uint16_t> bf16 = {to_bfloat16(1.5F).bits, to_bfloat16(-3).bits};
  const std::vector<uint16_t> f16 = {to_half(0.25F).bits};
  const std::vector<int64_t> i64 = {INT64_MIN, 7};
  const std::vector<uint8_t> u8 = {1, 2, 3};
  ASSERT_TRUE(write_safetensors(path("m"),
                                {view_of("byte", DType::kU8, {3}, u8), view_of("w", DType::kF32, {2, 3}, f32),
                                 view_of("h", DType::kF16, {}, f16), view_of("b", DType::kBF16, {1, 2}, bf16),
                                 view_of("i", DType::kI64, {2}, i64),
                                 view_of("none", DType::kF32, {0, 4}, std::vector<float>())},
                                {{"format", "pt"}, {"note", "\xc3\xa9\n"}})
                  .ok());
  const auto file = SafetensorsFile::open(path("m"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->metadata(), (StringMap{{"format", "pt"}, {"note", "\xc3\xa9\n"}}));

  std::vector<std::string> order;
  for (const TensorInfo& info : file->tensors()) {
    order.push_back(info.name);
    EXPECT_EQ(
        reinterpret_cast<uintptr_t>(file->bytes(info).data()) % static_cast<size_t>(size_of(info.dtype)), 0U)
        << info.name << " is not aligned";
  }
  EXPECT_EQ(order, (std::vector<std::string>{"i", "none", "w", "b", "h", "byte"}));

  const auto w = read_as_f32(*file, "w");
  ASSERT_TRUE(w.ok());
  EXPECT_EQ(std::memcmp(w->data(), f32.data(), 24), 0);
  EXPECT_EQ(*read_as_f32(*file, "b"), (std::vector<float>{1.5F, -3}));
  EXPECT_EQ(*read_as_f32(*file, "h"), (std::vector<float>{0.25F}));
  EXPECT_TRUE(read_as_f32(*file, "none")->empty());
  EXPECT_EQ(std::memcmp(file->bytes(*file->find("i")).data(), i64.data(), 16), 0);
  EXPECT_EQ(read_as_f32(*file, "i").error().message,
            path("m") + ": tensor \"i\" has dtype I64, expected F32, BF16 or F16");
  EXPECT_EQ(read_as_f32(*file, "q").error().message, path("m") + ": no tensor \"q\"");
  EXPECT_EQ(file->find("w")->shape, (std::vector<int64_t>{2, 3}));

  const TensorStatistics s = tensor_statistics(*file, *file->find("w"));
  EXPECT_EQ(s.nan, 1U);
  EXPECT_EQ(s.elements, 6U);
  EXPECT_EQ(s.min, -2);
  EXPECT_EQ(s.max, 4);
  EXPECT_DOUBLE_EQ(s.mean, 1.3);
}

TEST_F(Safetensors, TheBytesDoNotDependOnTheOrderGiven) {
  const std::vector<float> x = {1, 2}, y = {3};
  const auto a = view_of("a", DType::kF32, {2}, x), b = view_of("b", DType::kF32, {1}, y);
  ASSERT_TRUE(write_safetensors(path("1"), {a, b}).ok());
  ASSERT_TRUE(write_safetensors(path("2"), {b, a}).ok());
  EXPECT_EQ(*read_file(path("1")), *read_file(path("2")));
  uint64_t length = 0;
  std::memcpy(&length, read_file(path("1"))->data(), 8);
  EXPECT_EQ((sizeof length + length) % 64, 0U);
}

TEST_F(Safetensors, TheWriterRefusesWhatTheReaderWould) {
  const std::vector<float> x = {1};
  const auto message = [&](const std::vector<TensorView>& tensors, const StringMap& metadata = {}) {
    const Status status = write_safetensors(path("w"), tensors, metadata);
    return status.ok() ? "" : status.error().message;
  };
  const auto a = view_of("a", DType::kF32, {1}, x);
  EXPECT_EQ(message({a, a}), path("w") + ": two tensors are named \"a\"");
  EXPECT_EQ(message({view_of("__metadata__", DType::kF32, {1}, x)}),
            path("w") + ": a tensor cannot be named __metadata__");
  EXPECT_EQ(message({view_of("\xff", DType::kF32, {1}, x)}),
            path("w") + ": a tensor name or metadata entry is not valid UTF-8");
  EXPECT_EQ(message({a}, {{"k", "\xff"}}),
            path("w") + ": a tensor name or metadata entry is not valid UTF-8");
  EXPECT_FALSE(fs::exists(path("w")));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(Safetensors, AFailingWriteLeavesTheOldFileAndNothingElse) {
  const std::vector<float> one = {1}, two = {2};
  ASSERT_TRUE(write_safetensors(path("m"), {view_of("a", DType::kF32, {1}, one)}).ok());
  const std::string before = *read_file(path("m"));
  int failures = 0;
  for (int fail_at = 0;; ++fail_at) {
    int seen = 0;
    bool renamed = false;
    set_file_fault([&](FileOp op, const std::string&) {
      if (op == FileOp::kUnlink) return 0;
      if (seen++ == fail_at) return ENOSPC;
      renamed = renamed || op == FileOp::kRename;
      return 0;
    });
    const Status status = write_safetensors(path("m"), {view_of("a", DType::kF32, {1}, two)});
    set_file_fault({});
    if (status.ok()) break;
    ++failures;
    const auto file = SafetensorsFile::open(path("m"));
    ASSERT_TRUE(file.ok()) << fail_at;
    if (!renamed) {
      EXPECT_EQ(*read_file(path("m")), before) << fail_at;
    }
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1) << "a temporary is left, " << fail_at;
    ASSERT_TRUE(write_safetensors(path("m"), {view_of("a", DType::kF32, {1}, one)}).ok());
  }
  EXPECT_GE(failures, 5);  // create, header, data, flush, rename, flush of the folder
}

TEST_F(Safetensors, EveryReferenceFileIsReadToItsEnd) {
  const char* shared = std::getenv("FATHOM_SHARED");
  const fs::path root = fs::path(shared != nullptr ? shared : FATHOM_SOURCE_DIR "/../shared") / "fixtures";
  if (!fs::exists(root)) GTEST_SKIP() << "needs FATHOM_SHARED/fixtures: reference models";
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".safetensors") continue;
    ++files;
    const auto file = SafetensorsFile::open(entry.path().string());
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_FALSE(file->tensors().empty()) << entry.path();
  }
  EXPECT_GT(files, 100);
}

}  // namespace
}  // namespace fathom
