#include "kernels/head_cross_entropy/head_cross_entropy.h"

#include <vector>

#include "base/check.h"
#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Case {
  Case(int64_t n, int64_t d, int64_t v, float label_smoothing)
      : rows(n),
        dim(d),
        vocab(v),
        smoothing(label_smoothing),
        hidden(Buffer::normal(n * d, 1)),
        weight(Buffer::normal(v * d, 2)),
        nll(n),
        grad_hidden(n * d),
        grad_weight(v * d, 0.0F) {
    for (int64_t r = 0; r < n; ++r) {
      labels.push_back(r % 4 == 3 ? kIgnoredLabel : static_cast<int32_t>((r * 7) % v));
    }
  }
  HeadCrossEntropy args(int64_t chunk) {
    workspace.assign(static_cast<size_t>(chunk * vocab), std::numeric_limits<float>::quiet_NaN());
    return {.hidden = hidden.data(),
            .labels = labels.data(),
            .nll = nll.data(),
            .loss = &loss,
            .grad_hidden = grad_hidden.data(),
            .workspace = workspace.data(),
            .rows = rows,
            .dim = dim,
            .vocab = vocab,
            .chunk_rows = chunk,
            .loss_scale = 0.2F,
            .label_smoothing = smoothing};
  }
  PlainHeadProducts products() { return {weight.data(), grad_weight.data(), dim, vocab}; }
  int64_t rows, dim, vocab;
  float smoothing;
  Buffer hidden, weight, nll, grad_hidden, grad_weight;
  std::vector<int32_t> labels;
  std::vector<float> workspace;
  double loss = -1;
};

TEST(HeadCrossEntropy, RefOfEqualLogitsIsTheLogOfTheVocabulary) {
  Case c(5, 3, 11, 0.1F);
  for (int64_t i = 0; i < c.weight.size(); ++i) c.weight[i] = 0;
  PlainHeadProducts products = c.products();
  head_cross_entropy_ref(c.args(1), products);
  EXPECT_NEAR(c.loss, 0.2 * 4 * std::log(11.0), 1e-7);
  EXPECT_EQ(c.nll[3], 0.0F);
}

TEST(HeadCrossEntropy, RefGradientsAreTheDerivative) {
  Case c(6, 4, 7, 0.1F);
  PlainHeadProducts products = c.products();
  head_cross_entropy_ref(c.args(1), products);
  const Buffer grad_hidden = c.grad_hidden, grad_weight = c.grad_weight;
  const auto loss = [&] {
    head_cross_entropy_ref(c.args(1), products);
    return c.loss;
  };
  testing::expect_gradient(c.hidden, grad_hidden, loss);
  testing::expect_gradient(c.weight, grad_weight, loss);
}

TEST(HeadCrossEntropy, CpuEqualsRefForAnyChunk) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (float smoothing : {0.0F, 0.1F}) {
      for (int64_t vocab : {2, 31, 257}) {
        Case ref(13, 9, vocab, smoothing);
        PlainHeadProducts ref_products = ref.products();
        head_cross_entropy_ref(ref.args(1), ref_products);
        for (int64_t chunk : {1, 4, 13, 64}) {
          Case cpu(13, 9, vocab, smoothing);
          PlainHeadProducts cpu_products = cpu.products();
          head_cross_entropy_cpu(cpu.args(chunk), cpu_products, pool);
          EXPECT_NEAR(cpu.loss, ref.loss, 1e-6 * std::fabs(ref.loss));
          EXPECT_LE(testing::relative_error(cpu.nll, ref.nll), 1e-6);
          EXPECT_LE(testing::relative_error(cpu.grad_hidden, ref.grad_hidden), 3e-6) << vocab << " " << chunk;
          EXPECT_LE(testing::relative_error(cpu.grad_weight, ref.grad_weight), 3e-6);
        }
      }
    }
  });
}

TEST(HeadCrossEntropy, WithoutGradientsOnlyTheLoss) {
  Case c(13, 9, 31, 0), full(13, 9, 31, 0);
  SerialParallel serial;
  PlainHeadProducts products = c.products(), full_products = full.products();
  HeadCrossEntropy args = c.args(5);
  args.grad_hidden = nullptr;
  head_cross_entropy_cpu(args, products, serial);
  head_cross_entropy_cpu(full.args(5), full_products, serial);
  EXPECT_EQ(c.loss, full.loss);
  EXPECT_TRUE(std::isnan(c.grad_hidden[0]));
  EXPECT_EQ(c.grad_weight[0], 0.0F);
}

// grad_weight is left out: it is summed by the products, chunk after chunk.
TEST(HeadCrossEntropy, BitsDoNotDependOnChunksOrThreads) {
  ThreadPool pool(4);
  SerialParallel serial;
  testing::for_each_level([&] {
    Case whole(29, 9, 67, 0.1F);
    PlainHeadProducts whole_products = whole.products();
    head_cross_entropy_cpu(whole.args(29), whole_products, serial);
    for (int64_t chunk : {1, 5, 28, 40}) {
      Case cut(29, 9, 67, 0.1F);
      PlainHeadProducts products = cut.products();
      head_cross_entropy_cpu(cut.args(chunk), products, pool);
      EXPECT_EQ(cut.loss, whole.loss) << chunk;
      EXPECT_TRUE(testing::same_bits(cut.nll, whole.nll)) << chunk;
      EXPECT_TRUE(testing::same_bits(cut.grad_hidden, whole.grad_hidden)) << chunk;
    }
  });
}

// Logits of many thousands: exponentials are taken of differences only.
TEST(HeadCrossEntropy, LargeLogitsDoNotOverflow) {
  SerialParallel serial;
  testing::for_each_level([&] {
    Case ref(13, 9, 31, 0.1F), cpu(13, 9, 31, 0.1F);
    for (Case* c : {&ref, &cpu}) {
      for (int64_t i = 0; i < c->hidden.size(); ++i) c->hidden[i] *= 10000.0F;
    }
    PlainHeadProducts ref_products = ref.products(), cpu_products = cpu.products();
    head_cross_entropy_ref(ref.args(1), ref_products);
    head_cross_entropy_cpu(cpu.args(5), cpu_products, serial);
    ASSERT_TRUE(std::isfinite(ref.loss));
    EXPECT_NEAR(cpu.loss, ref.loss, 1e-6 * std::fabs(ref.loss));
    EXPECT_LE(testing::relative_error(cpu.grad_hidden, ref.grad_hidden), 3e-6);
  });
}

TEST(HeadCrossEntropy, RowsWithoutLabelsGiveNothing) {
  Case c(5, 9, 31, 0.1F);
  for (int32_t& label : c.labels) label = kIgnoredLabel;
  SerialParallel serial;
  PlainHeadProducts products = c.products();
  head_cross_entropy_cpu(c.args(2), products, serial);
  EXPECT_EQ(c.loss, 0.0);
  for (int64_t i = 0; i < c.nll.size(); ++i) EXPECT_EQ(c.nll[i], 0.0F);
  for (int64_t i = 0; i < c.grad_hidden.size(); ++i) ASSERT_EQ(c.grad_hidden[i], 0.0F);
  for (int64_t i = 0; i < c.grad_weight.size(); ++i) ASSERT_EQ(c.grad_weight[i], 0.0F);
}

TEST(HeadCrossEntropy, ALabelOutsideTheVocabularyIsRefused) {
  SerialParallel serial;
  for (int32_t label : {7, -1, -99, 2147483647}) {
    Case c(4, 3, 7, 0);
    c.labels[1] = label;
    PlainHeadProducts products = c.products();
    EXPECT_THROW(head_cross_entropy_cpu(c.args(2), products, serial), CheckFailure) << label;
    EXPECT_THROW(head_cross_entropy_ref(c.args(1), products), CheckFailure) << label;
  }
}

}  // namespace
}  // namespace fathom::kernels
