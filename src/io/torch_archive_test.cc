// An archive of torch gives the tensors that were saved, ties by their place; tests/faults has the archives
// that are refused.
#include "io/torch_archive.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "io/archive_testing.h"
#include "io/weight_files.h"

namespace fathom {
namespace {

using namespace testing_archive;

Result<TorchArchive> parse(const std::string& file) {
  return TorchArchive::parse({reinterpret_cast<const uint8_t*>(file.data()), file.size()});
}

std::string small() { return archive(state_dict(small_tensors()), {small_storage()}); }

TEST(TorchArchiveReader, GivesTheTensorsWithTiesAtOnePlace) {
  const std::string file = small();
  const auto opened = parse(file);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  ASSERT_EQ(opened->tensors().size(), 3U);
  EXPECT_EQ(*read_as_f32(*opened, "a"), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(*read_as_f32(*opened, "part"), (std::vector<float>{4, 5}));
  EXPECT_EQ(opened->find("a")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(opened->bytes(*opened->find("a")).data(), opened->bytes(*opened->find("tied")).data());
  EXPECT_EQ(opened->find("b"), nullptr);
}

TEST(TorchArchiveReader, ReadsADirectorySaidIn64Bits) {
  const std::string file = zip64(entries_of(state_dict(small_tensors()), {small_storage()}));
  const auto opened = parse(file);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(*read_as_f32(*opened, "a"), (std::vector<float>{0, 1, 2, 3, 4, 5}));
}

TEST(TorchArchiveReader, ReadsParametersAndTheAttributesOfAnOrderedDict) {
  // What torch.save(model.state_dict()) writes: an OrderedDict with `_metadata`, values memoized.
  const Tensor tensor = {"w", "0", 6, {6}, {1}};
  const std::string dict = global("collections", "OrderedDict") + "q";
  std::string pickle = "\x80\x02" + dict + number(0, 1) + ")R(" + text("w") + rebuilt(tensor) + "u}(" +
                       text("_metadata") + "h" + number(0, 1) + ")R" + text("version") + "K\1sub.";
  EXPECT_EQ(*read_as_f32(*parse(archive(pickle, {small_storage()})), "w"),
            (std::vector<float>{0, 1, 2, 3, 4, 5}));
  pickle = "\x80\x02}" + text("w") + global("torch._utils", "_rebuild_parameter") + "(" + rebuilt(tensor) +
           "\x88" + global("collections", "OrderedDict") + ")RtRs.";
  EXPECT_EQ(*read_as_f32(*parse(archive(pickle, {small_storage()})), "w"),
            (std::vector<float>{0, 1, 2, 3, 4, 5}));
}

TEST(TorchArchiveReader, ReadsEveryTypeThatIsComputedWith) {
  const struct {
    const char* type;
    DType dtype;
  } rows[] = {{"FloatStorage", DType::kF32},  {"BFloat16Storage", DType::kBF16}, {"HalfStorage", DType::kF16},
              {"DoubleStorage", DType::kF64}, {"LongStorage", DType::kI64},      {"IntStorage", DType::kI32},
              {"ByteStorage", DType::kU8}};
  for (const auto& row : rows) {
    Tensor tensor = {"w", "0", 24 / static_cast<uint64_t>(size_of(row.dtype)), {}, {}, 0, row.type};
    tensor.shape = {tensor.storage_elements, 1};
    tensor.strides = {1, 77};  // of an extent of 1: any
    const std::string file = archive(state_dict({tensor}), {small_storage()});
    const auto opened = parse(file);
    ASSERT_TRUE(opened.ok()) << row.type << ": " << opened.error().message;
    EXPECT_EQ(opened->tensors().front().dtype, row.dtype);
    EXPECT_EQ(opened->tensors().front().bytes(), 24U);
  }
}

TEST(TorchArchiveReader, IsChosenByTheNameOfTheFile) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / ("fathom-archive-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  EXPECT_FALSE(WeightFiles::are_in(folder.string()));
  std::ofstream(folder / "pytorch_model.bin", std::ios::binary) << small();
  EXPECT_TRUE(WeightFiles::are_in(folder.string()));
  for (const std::string& path : {folder.string(), (folder / "pytorch_model.bin").string()}) {
    const auto weights = WeightFiles::open(path);
    ASSERT_TRUE(weights.ok()) << weights.error().message;
    EXPECT_TRUE(same_values(*weights->find("a"), *weights->find("tied")));
    EXPECT_FALSE(same_values(*weights->find("a"), *weights->find("part")));
  }
  // Shards, as large models have them.
  fs::rename(folder / "pytorch_model.bin", folder / "pytorch_model-00001-of-00001.bin");
  std::ofstream(folder / "pytorch_model.bin.index.json")
      << R"({"weight_map":{"a":"pytorch_model-00001-of-00001.bin","tied":"pytorch_model-00001-of-00001.bin",)"
      << R"("part":"pytorch_model-00001-of-00001.bin"}})";
  const auto shards = WeightFiles::open(folder.string());
  ASSERT_TRUE(shards.ok()) << shards.error().message;
  EXPECT_EQ(shards->tensors().size(), 3U);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace fathom
