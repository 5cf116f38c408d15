// Tensors that change their type are converted piece by piece, the others handed on where they lie.
#include "weights/converted_tensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "base/half.h"
#include "plan/testing.h"
#include "weights/fresh_weights.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

TEST(ConvertedTensors, AreNeverHeldWhole) {
  ModelSpec spec = testing_plan::tiny();
  spec.vocab_size = 40'000;  // an embedding of more values than are converted at a time
  const std::string folder =
      (fs::temp_directory_path() / ("fathom-converted-" + std::to_string(::getpid()))).string();
  SerialParallel serial;
  for (const DType from : {DType::kF32, DType::kBF16}) {
    fs::create_directories(folder);
    ASSERT_TRUE(write_fresh_weights(folder, *build_plan(spec), 5, from, serial).ok());
    const ModelSource source = *open_model_source(spec, folder);
    for (const DType to : {DType::kF32, DType::kBF16}) {
      const Result<StreamedTensors> stream = converted_tensors(source, source.plan, to);
      ASSERT_TRUE(stream.ok()) << stream.error().message;
      int changed = 0;
      for (const TensorSpec& tensor : stream->specs) {
        SCOPED_TRACE(tensor.name);
        const StoredTensor stored = *source.files->require(tensor.name);
        std::vector<uint8_t> got;
        uint64_t largest = 0;
        bool in_the_file = true;
        const Status status = stream->data(tensor.name, [&](std::span<const uint8_t> bytes) -> Status {
          got.insert(got.end(), bytes.begin(), bytes.end());
          largest = std::max<uint64_t>(largest, bytes.size());
          in_the_file = in_the_file && bytes.data() == stored.bytes().data();
          return {};
        });
        ASSERT_TRUE(status.ok()) << status.error().message;
        const bool changes = tensor.dtype != stored.info->dtype;
        EXPECT_EQ(in_the_file, !changes);
        const std::vector<float> values = *source.files->read_as_f32(tensor.name);
        ASSERT_EQ(got.size(), values.size() * static_cast<size_t>(size_of(tensor.dtype)));
        int64_t different = 0;
        for (size_t i = 0; i < values.size(); ++i) {
          BFloat16 half = to_bfloat16(values[i]);
          const bool same = tensor.dtype == DType::kF32 ? std::memcmp(got.data() + 4 * i, &values[i], 4) == 0
                                                        : std::memcmp(got.data() + 2 * i, &half, 2) == 0;
          different += same ? 0 : 1;
        }
        EXPECT_EQ(different, 0);
        if (!changes) continue;
        ++changed;
        EXPECT_LE(largest, static_cast<uint64_t>(kValuesAtATime * size_of(tensor.dtype)));
      }
      EXPECT_EQ(changed > 0, from != to);
    }
    fs::remove_all(folder);
  }
}

}  // namespace
}  // namespace fathom
