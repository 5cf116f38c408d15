// The wiring of kernels into LibTorch's graph: gradients by finite differences, the same bits for any number
// of threads, and sequences that do not see each other.
#include "train/ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "base/worse_of.h"
#include "train/testing.h"
#include "train/torch_parallel.h"

namespace fathom::train {
namespace {

using testing::values_of;

Tensor random_leaf(const std::vector<int64_t>& shape, uint64_t stream, float scale = 1.0F,
                   float shift = 0.0F) {
  Tensor tensor = at::empty(shape, at::kFloat);
  auto* values = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i)
    values[i] = shift + scale * normal(3, stream, static_cast<uint64_t>(i));
  tensor.set_requires_grad(true);
  return tensor;
}

// Inputs that want gradients, and the op as a function of them.
struct OpCase {
  std::string name;
  std::vector<Tensor> inputs;
  std::function<Tensor(const std::vector<Tensor>&)> run;
};

// Two sequences of 3 and 4 rows; the second attention case looks back two keys only.
std::shared_ptr<const AttentionRows> attention_rows(int32_t window) {
  auto rows = std::make_shared<AttentionRows>();
  rows->query_rows = rows->key_rows = {{0, 3}, {3, 7}};
  for (int32_t s = 0; s < 2; ++s) {
    for (int32_t i = 0; i < 3 + s; ++i) {
      rows->key_end.push_back(i + 1);
      rows->key_begin.push_back(window > 0 ? std::max(0, i + 1 - window) : 0);
      rows->sequence.push_back(s);
    }
  }
  return rows;
}

std::vector<OpCase> op_cases() {
  const std::vector<RowRange> sequences = {{0, 3}, {3, 7}};
  const auto positions =
      std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>{0, 1, 2, 0, 2, 3, 9});
  auto tables = std::make_shared<RopeTables>();
  tables->positions = 10;
  tables->head_dim = 4;
  tables->cos.resize(20);
  tables->sin.resize(20);
  fill_rope_tables(*tables, 10000, false);
  const auto leaf = random_leaf;
  std::vector<OpCase> cases;
  cases.push_back({"embedding", {leaf({5, 6}, 0, 1, 0)}, [](const std::vector<Tensor>& in) {
                     return embedding(in[0], {4, 0, 4, 2});
                   }});
  cases.push_back({"rms_norm",
                   {leaf({7, 6}, 1, 1, 0), leaf({6}, 2, 0.2F, 1)},
                   [](const std::vector<Tensor>& in) { return rms_norm(in[0], in[1], 1e-5); }});
  cases.push_back({"layer_norm",
                   {leaf({7, 6}, 3, 1, 0), leaf({6}, 4, 0.2F, 1), leaf({6}, 5, 1, 0)},
                   [](const std::vector<Tensor>& in) { return layer_norm(in[0], in[1], in[2], 1e-5); }});
  cases.push_back({"linear",
                   {leaf({7, 6}, 6, 1, 0), leaf({5, 6}, 7, 1, 0), leaf({5}, 8, 1, 0)},
                   [](const std::vector<Tensor>& in) {
                     return linear(in[0], {in[1], in[2]}, Precision::kF32DoubleSums);
                   }});
  cases.push_back({"rope", {leaf({7, 8}, 9, 1, 0)}, [=](const std::vector<Tensor>& in) {
                     return rope(in[0], tables, positions, 2);
                   }});
  for (int32_t window : {0, 2}) {
    cases.push_back(
        {"attention, window " + std::to_string(window),
         {leaf({7, 16}, 10, 1, 0), leaf({7, 8}, 11, 1, 0), leaf({7, 8}, 12, 1, 0)},
         [=](const std::vector<Tensor>& in) {
           return attention(in[0], in[1], in[2], attention_rows(window), {4, 2, 4, 1, 0.5}, Precision::kF32);
         }});
  }
  cases.push_back(
      {"attention, two stripes",
       {leaf({7, 16}, 49, 1, 0), leaf({7, 8}, 50, 1, 0), leaf({7, 8}, 51, 1, 0)},
       [=](const std::vector<Tensor>& in) {
         return attention(in[0], in[1], in[2], attention_rows(2), {4, 2, 4, 2, 0.5}, Precision::kF32);
       }});
  cases.push_back(
      {"differential_lambda",
       {leaf({5}, 52, 0.5F, 0), leaf({5}, 53, 0.5F, 0), leaf({5}, 54, 0.5F, 0), leaf({5}, 55, 0.5F, 0)},
       [](const std::vector<Tensor>& in) { return differential_lambda(in[0], in[1], in[2], in[3], 0.3); }});
  cases.push_back(
      {"differential_norm",
       {leaf({7, 24}, 56, 1, 0), leaf({1}, 57, 0.1F, 0.6F), leaf({6}, 58, 0.2F, 1)},
       [](const std::vector<Tensor>& in) { return differential_norm(in[0], in[1], in[2], 0.7, 1e-5); }});
  cases.push_back({"swiglu",
                   {leaf({7, 6}, 13, 1, 0), leaf({7, 6}, 14, 1, 0)},
                   [](const std::vector<Tensor>& in) { return swiglu(in[0], in[1]); }});
  cases.push_back({"gated_memory",
                   {leaf({7, 6}, 15, 1, 0), leaf({7, 6}, 16, 1, 0)},
                   [](const std::vector<Tensor>& in) { return gated_memory(in[0], in[1], {}, 0); }});
  cases.push_back({"gated_memory, normalised",
                   {leaf({7, 6}, 15, 1, 0), leaf({7, 6}, 16, 1, 0), leaf({6}, 60, 0.2F, 1)},
                   [](const std::vector<Tensor>& in) { return gated_memory(in[0], in[1], in[2], 1e-5); }});
  cases.push_back(
      {"causal_conv1d",
       {leaf({7, 6}, 17, 1, 0), leaf({6, 4}, 18, 0.5F, 0), leaf({6}, 19, 0.1F, 0)},
       [=](const std::vector<Tensor>& in) { return causal_conv1d(in[0], in[1], in[2], sequences); }});
  // The first two columns of dt_b_c belong to dt_proj: nothing comes back to them from here.
  cases.push_back({"selective_scan",
                   {leaf({7, 6}, 20, 1, 0), leaf({7, 6}, 21, 0.5F, 0), leaf({6}, 22, 0.5F, -1),
                    leaf({6, 3}, 23, 0.3F, 0), leaf({7, 8}, 24, 1, 0), leaf({6}, 25, 0.2F, 1)},
                   [=](const std::vector<Tensor>& in) {
                     return selective_scan(in[0], in[1], in[2], in[3], in[4], in[5], 2, sequences);
                   }});
  cases.push_back(
      {"causal_conv1d, without bias",
       {leaf({7, 6}, 17, 1, 0), leaf({6, 4}, 18, 0.5F, 0)},
       [=](const std::vector<Tensor>& in) { return causal_conv1d(in[0], in[1], {}, sequences); }});
  // Two heads of three channels, one group of two states.
  cases.push_back({"ssd_scan",
                   {leaf({7, 10}, 61, 1, 0), leaf({7, 2}, 62, 0.5F, 0), leaf({2}, 63, 0.5F, -1),
                    leaf({2}, 64, 0.3F, 0), leaf({2}, 65, 0.2F, 1)},
                   [=](const std::vector<Tensor>& in) {
                     return ssd_scan(in[0], in[1], in[2], in[3], in[4], {3, 2, 1}, sequences);
                   }});
  // Two heads with keys of two and values of three.
  cases.push_back(
      {"gated_delta",
       {leaf({7, 4}, 66, 1, 0), leaf({7, 4}, 67, 1, 0), leaf({7, 6}, 68, 1, 0), leaf({7, 2}, 69, 0.5F, 0),
        leaf({7, 2}, 70, 0.5F, 0), leaf({2}, 71, 0.5F, -1), leaf({2}, 72, 0.3F, 0)},
       [=](const std::vector<Tensor>& in) {
         return gated_delta({in[0], in[1], in[2], in[3], in[4], in[5], in[6]}, sequences);
       }});
  for (auto score :
       {kernels::RouterScore::kSigmoid, kernels::RouterScore::kTanh, kernels::RouterScore::kIdentity}) {
    cases.push_back({"router_scores " + std::to_string(static_cast<int>(score)),
                     {leaf({7, 6}, 26, 1, 0), leaf({1, 6}, 27, 0.5F, 0)},
                     [=](const std::vector<Tensor>& in) {
                       const RouterScores scores = router_scores(in[0], in[1], 2.0, 0.7, score);
                       return scores.logits * 0.3 + scores.weights;
                     }});
  }
  cases.push_back({"scale_columns, onto a base",
                   {leaf({7, 6}, 40, 1, 0), leaf({6}, 41, 0.5F, 0), leaf({7, 6}, 42, 1, 0)},
                   [divisor = leaf({6}, 43, 0.2F, 2).detach()](const std::vector<Tensor>& in) {
                     return scale_columns(in[0], in[1], divisor, in[2]);
                   }});
  cases.push_back({"scale_columns, one number",
                   {leaf({7, 6}, 44, 1, 0), leaf({1}, 45, 0.5F, 0)},
                   [](const std::vector<Tensor>& in) { return scale_columns(in[0], in[1], {}, {}); }});
  cases.push_back({"add_bias",
                   {leaf({7, 6}, 46, 1, 0), leaf({6}, 47, 1, 0)},
                   [](const std::vector<Tensor>& in) { return add_bias(in[0], in[1]); }});
  cases.push_back({"dropout", {leaf({7, 6}, 48, 1, 0)}, [](const std::vector<Tensor>& in) {
                     return dropout(in[0], 0.4, {.seed = 1, .stream = 2});
                   }});
  cases.push_back({"router_bce", {leaf({7}, 28, 1, 0)}, [](const std::vector<Tensor>& in) {
                     return router_bce(in[0], {0, 3, 4});
                   }});
  cases.push_back({"gather_rows", {leaf({7, 6}, 29, 1, 0)}, [](const std::vector<Tensor>& in) {
                     return gather_rows(in[0], {1, 4, 6});
                   }});
  cases.push_back({"scatter_add_rows, weighted",
                   {leaf({7, 6}, 30, 1, 0), leaf({3, 6}, 31, 1, 0), leaf({3}, 32, 1, 0)},
                   [](const std::vector<Tensor>& in) {
                     return scatter_add_rows(in[0], in[1], {1, 4, 6}, in[2]);
                   }});
  cases.push_back({"scatter_add_rows",
                   {leaf({7, 6}, 33, 1, 0), leaf({3, 6}, 34, 1, 0)},
                   [](const std::vector<Tensor>& in) {
                     return scatter_add_rows(in[0], in[1], {0, 2, 5}, {});
                   }});
  for (double smoothing : {0.0, 0.1}) {
    cases.push_back({"head_cross_entropy, smoothing " + std::to_string(smoothing),
                     {leaf({7, 6}, 35, 1, 0), leaf({9, 6}, 36, 1, 0)},
                     [=](const std::vector<Tensor>& in) {
                       return head_cross_entropy(in[0], in[1], {3, -100, 8, 0, 0, -100, 5}, 0.25, smoothing,
                                                 Precision::kF32DoubleSums);
                     }});
  }
  return cases;
}

// sum output * fixed noise, in double.
double projected(const Tensor& output) {
  double total = 0;
  const std::span<const float> values = values_of(output);
  for (size_t i = 0; i < values.size(); ++i) total += double{values[i]} * normal(4, 0, i);
  return total;
}

void run_backward(const OpCase& op, const Tensor& output) {
  for (const Tensor& input : op.inputs) input.mutable_grad() = Tensor();
  const Tensor seed = at::empty(output.sizes(), at::kFloat);
  for (int64_t i = 0; i < seed.numel(); ++i)
    seed.mutable_data_ptr<float>()[i] = normal(4, 0, static_cast<uint64_t>(i));
  output.backward(seed);
}

TEST(Ops, GradientsAreThoseOfFiniteDifferences) {
  set_threads(1);
  int checked = 0;
  for (const OpCase& op : op_cases()) {
    SCOPED_TRACE(op.name);
    run_backward(op, op.run(op.inputs));
    for (size_t n = 0; n < op.inputs.size(); ++n) {
      const Tensor& input = op.inputs[n];
      ASSERT_TRUE(input.grad().defined()) << "input " << n;
      ASSERT_EQ(input.grad().sizes(), input.sizes()) << "input " << n;
      auto* values = input.mutable_data_ptr<float>();
      double worst = 0, scale = 0;
      for (int64_t i = 0; i < input.numel(); ++i) {
        const float kept = values[i], step = 1e-2F;
        values[i] = kept + step;
        const double up = projected(op.run(op.inputs));
        values[i] = kept - step;
        const double down = projected(op.run(op.inputs));
        values[i] = kept;
        const double expected = (up - down) / (2.0 * step);
        worst = worse_of(worst, std::fabs(expected - input.grad().const_data_ptr<float>()[i]));
        scale = std::max(scale, std::fabs(expected));
      }
      EXPECT_GT(scale, 0) << "input " << n;
      EXPECT_LE(worst, 2e-3 * scale) << "input " << n;
      ++checked;
    }
  }
  EXPECT_GE(checked, 40);
}

TEST(Ops, BitsDoNotDependOnTheNumberOfThreads) {
  for (const OpCase& op : op_cases()) {
    SCOPED_TRACE(op.name);
    std::vector<std::vector<float>> first;
    for (int threads : {1, 2, 5}) {
      set_threads(threads);
      const Tensor output = op.run(op.inputs);
      run_backward(op, output);
      std::vector<std::vector<float>> found;
      found.emplace_back(values_of(output).begin(), values_of(output).end());
      for (const Tensor& input : op.inputs)
        found.emplace_back(values_of(input.grad()).begin(), values_of(input.grad()).end());
      if (first.empty()) first = found;
      EXPECT_EQ(found, first) << threads << " threads";
    }
  }
}

// Rows of the second sequence change; neither outputs nor gradients of the first may.
TEST(Ops, SequencesDoNotSeeEachOther) {
  set_threads(2);
  int checked = 0;
  for (const OpCase& op : op_cases()) {
    const auto is = [&](const char* start) { return op.name.starts_with(start); };
    if (!is("attention") && !is("causal_conv1d") && !is("selective_scan") && !is("ssd_scan") &&
        !is("gated_delta"))
      continue;
    SCOPED_TRACE(op.name);
    std::vector<std::vector<float>> first;
    for (int run = 0; run < 2; ++run) {
      std::vector<std::vector<float>> found;
      const Tensor output = op.run(op.inputs);
      run_backward(op, output);
      const auto keep_head = [&](const Tensor& tensor) {
        const auto values = values_of(tensor);
        const auto columns = static_cast<size_t>(tensor.size(1));
        found.emplace_back(values.begin(), values.begin() + static_cast<int64_t>(3 * columns));
      };
      keep_head(output);
      for (const Tensor& input : op.inputs) {
        if (input.dim() == 2 && input.size(0) == 7) keep_head(input.grad());
      }
      if (run == 0) {
        first = found;
      } else {
        EXPECT_EQ(found, first);
        ++checked;
      }
      for (const Tensor& input : op.inputs) {
        if (input.dim() != 2 || input.size(0) != 7) continue;
        for (int64_t i = 3 * input.size(1); i < input.numel(); ++i)
          input.mutable_data_ptr<float>()[i] += 1.5F;
      }
    }
  }
  EXPECT_EQ(checked, 8);
}

TEST(Ops, WithoutGradientModeNothingIsRecorded) {
  for (const OpCase& op : op_cases()) {
    const at::NoGradGuard no_graph;
    EXPECT_FALSE(op.run(op.inputs).requires_grad()) << op.name;
  }
}

// bfloat16 keeps 8 bits: products are close, masters and their gradients stay float.
TEST(Ops, Bfloat16ProductsAreCloseAndGradientsStayFloat) {
  const Tensor x = random_leaf({7, 64}, 50), weight = random_leaf({16, 64}, 51), bias = random_leaf({16}, 52);
  const Tensor exact = linear(x, {weight, bias}, Precision::kF32),
               rounded = linear(x, {weight, bias}, Precision::kBF16);
  EXPECT_EQ(rounded.scalar_type(), at::kFloat);
  double worst = 0, largest = 0;
  for (size_t i = 0; i < values_of(exact).size(); ++i) {
    worst = worse_of(worst, std::fabs(double{values_of(exact)[i]} - values_of(rounded)[i]));
    largest = std::max(largest, std::fabs(double{values_of(exact)[i]}));
  }
  EXPECT_GT(worst, 0);
  EXPECT_LE(worst, 0.01 * largest);
  rounded.sum().backward();
  for (const Tensor& leaf : {x, weight, bias}) EXPECT_EQ(leaf.grad().scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace fathom::train
