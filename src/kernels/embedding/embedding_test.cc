#include "kernels/embedding/embedding.h"

#include <vector>

#include "base/check.h"
#include "base/half.h"
#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

const std::vector<int32_t> kIds = {4, 0, 4, 2, 6, 4, 0};

TEST(Embedding, CopiesTheRowOfEachId) {
  constexpr int64_t kVocab = 7, kDim = 19;
  const Buffer table = Buffer::normal(kVocab * kDim, 1);
  const Buffer scale = Buffer::normal(kVocab, 3);
  std::vector<BFloat16> half;
  std::vector<int8_t> whole;
  for (int64_t i = 0; i < table.size(); ++i) {
    half.push_back(to_bfloat16(table[i]));
    whole.push_back(static_cast<int8_t>(30 * table[i]));
  }
  const std::pair<DType, const void*> tables[] = {
      {DType::kF32, table.data()}, {DType::kBF16, half.data()}, {DType::kI8, whole.data()}};
  ThreadPool pool(3);
  for (const auto& [type, data] : tables) {
    Buffer ref(7 * kDim), cpu(7 * kDim);
    EmbeddingFwd args{kIds.data(), data, type,   ref.data(),
                      7,           kDim, kVocab, type == DType::kI8 ? scale.data() : nullptr};
    embedding_fwd_ref(args);
    args.y = cpu.data();
    embedding_fwd_cpu(args, pool);
    EXPECT_TRUE(testing::same_bits(cpu, ref));
    EXPECT_TRUE(cpu.intact());
    const float expected = table[6 * kDim + 3];
    if (type == DType::kF32) EXPECT_EQ(ref[4 * kDim + 3], expected);
    if (type == DType::kBF16) EXPECT_EQ(ref[4 * kDim + 3], round_to_bfloat16(expected));
    if (type == DType::kI8) EXPECT_EQ(ref[4 * kDim + 3], scale[6] * static_cast<float>(whole[6 * kDim + 3]));
  }
}

TEST(Embedding, BackwardAddsRowsOfEqualIdInOrder) {
  constexpr int64_t kVocab = 7, kDim = 41;
  const Buffer grad = Buffer::normal(7 * kDim, 2);
  SerialParallel serial;
  ThreadPool pool(4);
  for (bool accumulate : {false, true}) {
    const float before = accumulate ? 0.25F : std::numeric_limits<float>::quiet_NaN();
    Buffer ref(kVocab * kDim, before), one(kVocab * kDim, before), many(kVocab * kDim, before);
    embedding_bwd_ref({kIds.data(), grad.data(), ref.data(), 7, kDim, kVocab, accumulate});
    embedding_bwd_cpu({kIds.data(), grad.data(), one.data(), 7, kDim, kVocab, accumulate}, serial);
    embedding_bwd_cpu({kIds.data(), grad.data(), many.data(), 7, kDim, kVocab, accumulate}, pool);
    EXPECT_LE(testing::relative_error(one, ref), 1e-6);
    EXPECT_TRUE(testing::same_bits(one, many));
    EXPECT_EQ(one[1 * kDim], accumulate ? 0.25F : 0.0F);  // an id that does not occur
  }
}

TEST(Embedding, AnIdOutsideTheVocabularyIsRefusedBeforeAnythingIsWritten) {
  const Buffer table = Buffer::normal(14, 1);
  Buffer y(4);
  SerialParallel serial;
  for (int32_t bad : {7, -1}) {
    const int32_t ids[] = {1, bad};
    EXPECT_THROW(embedding_fwd_cpu({ids, table.data(), DType::kF32, y.data(), 2, 2, 7}, serial),
                 CheckFailure);
    EXPECT_TRUE(std::isnan(y[0]));
  }
}

}  // namespace
}  // namespace fathom::kernels
