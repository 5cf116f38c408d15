// The reader refuses every broken file with its own sentence; what the writer writes, the reader returns.
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

struct Broken {
  std::string file;
  std::string message;
};

std::vector<Broken> broken_files() {
  const std::string a = tensor("a", "F32", "[2]", "[0,8]");
  std::string many = "[1";
  for (int i = 0; i < 8; ++i) many += ",1";
  many += "]";
  return {
      {"", "the file has 0 bytes, fewer than the 8 of the header length"},
      {"1234567", "the file has 7 bytes, fewer than the 8 of the header length"},
      {length_prefix(1), "header length 1 exceeds the 0 bytes that follow it"},
      {length_prefix(100) + "{}", "header length 100 exceeds the 2 bytes that follow it"},
      {length_prefix(100'000'001) + "{}", "header length 100000001 exceeds the limit of 100000000"},
      {length_prefix(uint64_t{1} << 63) + "{}",
       "header length 9223372036854775808 exceeds the limit of 100000000"},
      {length_prefix(UINT64_MAX) + "{}", "header length 18446744073709551615 exceeds the limit of 100000000"},
      {file_of(""),
       "header: line 1, column 1: syntax error while parsing value - unexpected end of input; expected '[', "
       "'{', or a literal"},
      {file_of("{\"\xff\":1}"),
       "header: line 1, column 3: syntax error while parsing object key - invalid string: ill-formed UTF-8 "
       "byte; "
       "expected string literal"},
      {file_of("\xef\xbb\xbf{}"), "header: line 1, column 1: a byte order mark is not JSON"},
      {file_of("{}\0{}"s), "header: line 1, column 3: a zero byte is not JSON"},
      {file_of("{\"a\":"),
       "header: line 1, column 6: syntax error while parsing value - unexpected end of input; expected '[', "
       "'{', or a literal"},
      {file_of("{}{}"),
       "header: line 1, column 3: syntax error while parsing value - unexpected '{'; expected end of input"},
      {file_of("[]"), "the header is an array, expected an object"},
      {file_of("{\"a\":" + std::string(50, '[') + std::string(50, ']') + "}"),
       "header: line 1, column 13: nested deeper than the limit of 8"},
      {file_of("{" + a + "," + a + "}", 8), "header: line 1, column 57: duplicate key \"a\""},
      {file_of("{" + a + ",\"__metadata__\":3}", 8), "__metadata__ is an integer, expected an object"},
      {file_of("{\"__metadata__\":{\"k\":1}}"), "__metadata__ entry \"k\" is an integer, expected a string"},
      {file_of("{\"a\":[]}"), "tensor \"a\": is an array, expected an object"},
      {file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8),
       "tensor \"a\": has no member \"data_offsets\""},
      {file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":0}}", 4),
       "tensor \"a\": has the unknown member \"x\""},
      {file_of("{" + tensor("a", "F7", "[2]", "[0,8]") + "}", 8), "tensor \"a\": unknown dtype \"F7\""},
      {file_of("{\"a\":{\"dtype\":4,\"shape\":[2],\"data_offsets\":[0,8]}}", 8),
       "tensor \"a\": dtype is an integer, expected a string"},
      {file_of("{" + tensor("a", "F8_E4M3", "[8]", "[0,8]") + "}", 8),
       "tensor \"a\": dtype F8_E4M3 is not supported"},
      {file_of("{" + tensor("a", "F4", "[3]", "[0,2]") + "}", 2), "tensor \"a\": dtype F4 is not supported"},
      {file_of("{" + tensor("a", "F32", "2", "[0,8]") + "}", 8),
       "tensor \"a\": shape is an integer, expected an array"},
      {file_of("{" + tensor("a", "F32", "[-2]", "[0,8]") + "}", 8),
       "tensor \"a\": an extent of the shape is a negative integer, expected a non-negative integer"},
      {file_of("{" + tensor("a", "F32", "[2.0]", "[0,8]") + "}", 8),
       "tensor \"a\": an extent of the shape is a number with fraction or exponent, expected a non-negative "
       "integer"},
      {file_of("{" + tensor("a", "F32", "[2e0]", "[0,8]") + "}", 8),
       "tensor \"a\": an extent of the shape is a number with fraction or exponent, expected a non-negative "
       "integer"},
      {file_of("{" + tensor("a", "F32", "[\"2\"]", "[0,8]") + "}", 8),
       "tensor \"a\": an extent of the shape is a string, expected a non-negative integer"},
      {file_of("{" + tensor("a", "F32", many, "[0,4]") + "}", 4),
       "tensor \"a\": has 9 dimensions, more than the limit of 8"},
      {file_of("{" + tensor("a", "F32", "[2]", "[0]") + "}", 8),
       "tensor \"a\": data_offsets is not an array of two integers"},
      {file_of("{" + tensor("a", "F32", "[2]", "[-1,8]") + "}", 8),
       "tensor \"a\": the begin of data_offsets is a negative integer, expected a non-negative integer"},
      {file_of("{" + tensor("a", "F32", "[2]", "[0,8.0]") + "}", 8),
       "tensor \"a\": the end of data_offsets is a number with fraction or exponent, expected a non-negative "
       "integer"},
      {file_of("{" + tensor("a", "F32", "[2]", "[8,0]") + "}", 8),
       "tensor \"a\": data_offsets [8, 0) end before they begin"},
      {file_of("{" + a + "," + tensor("b", "F32", "[2]", "[4,12]") + "}", 12),
       "tensor \"b\": data_offsets [4, 12) overlap the tensor before, which ends at 8"},
      {file_of("{" + a + "," + tensor("b", "F32", "[2]", "[0,8]") + "}", 8),
       "tensor \"b\": data_offsets [0, 8) overlap the tensor before, which ends at 8"},
      {file_of("{" + a + "," + tensor("b", "F32", "[2]", "[12,20]") + "}", 20),
       "tensor \"b\": data_offsets [12, 20) leave a hole after the tensor before, which ends at 8"},
      {file_of("{" + tensor("a", "F32", "[2]", "[4,12]") + "}", 12),
       "tensor \"a\": data_offsets [4, 12) leave a hole after the tensor before, which ends at 0"},
      {file_of("{" + tensor("a", "F32", "[3]", "[0,8]") + "}", 8),
       "tensor \"a\": shape [3] of F32 needs 12 bytes, data_offsets [0, 8) give 8"},
      {file_of("{" + tensor("a", "U8", "[2,18446744073709551614]", "[0,8]") + "}", 8),
       "tensor \"a\": extent 18446744073709551614 of the shape exceeds 63 bits"},
      {file_of("{" + tensor("a", "F32", "[2,9223372036854775807]", "[0,8]") + "}", 8),
       "tensor \"a\": shape [2, 9223372036854775807] of F32 needs more than 2^64 bytes"},
      {file_of("{" + tensor("a", "F32", "[4294967296,4294967296]", "[0,0]") + "}"),
       "tensor \"a\": shape [4294967296, 4294967296] of F32 needs more than 2^64 bytes"},
      {file_of("{" + tensor("a", "U8", "[1000000000000]", "[0,1000000000000]") + "}", 4),
       "truncated: tensors need 1000000000000 bytes of data, the file has 4"},
      {file_of("{" + a + "}", 7), "truncated: tensors need 8 bytes of data, the file has 7"},
      {file_of("{" + a + "}", 9), "1 bytes after the last tensor"},
      {file_of("{}", 3), "3 bytes after the last tensor"},
      {file_of("{" + tensor(std::string(4097, 'n'), "F32", "[]", "[0,4]") + "}", 4),
       "a tensor's name has 4097 bytes, more than the limit of 4096"},
  };
}

TEST_F(Safetensors, EveryBrokenFileIsRefusedWithItsSentence) {
  const auto files = broken_files();
  ASSERT_GE(files.size(), 20U);
  for (const Broken& broken : files) {
    const auto file = parse(broken.file);
    ASSERT_FALSE(file.ok()) << broken.message;
    EXPECT_EQ(file.error().message, broken.message);
  }
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
