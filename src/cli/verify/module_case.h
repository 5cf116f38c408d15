// Recorded cases of single modules (`module_*`): run through the kernels alone, forward and backward.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "cli/verify/recorded_tensors.h"
#include "cli/verify/report.h"
#include "io/weight_files.h"

namespace fathom::cli::verify {

// An open module case. weights is empty where the case has no parameters.
struct ModuleCase {
  std::string path;
  nlohmann::json config;
  RecordedTensors weights;
  RecordedTensors io;
  Report& report;
  Parallel& parallel;

  // A size from config.json, in [1, 2^20].
  Result<int64_t> size(const std::string& key) const;
  // Error if config.json has a key besides these.
  Status known_keys(std::initializer_list<const char*> keys) const;

  // Compares where the case has recorded the tensor. (One that it has and nobody compares is an error.)
  void check(const std::string& tensor, std::span<const float> got) {
    if (io.has(tensor)) report.compare("kernels", tensor, Kind::kModules, got, io.at(tensor).values);
  }
  // Likewise gradients with respect to inputs and parameters, relative to the tensor's largest value.
  void check_gradient(const std::string& tensor, std::span<const float> got);
  // <prefix>.conv and <prefix>.ssm of a recurrent mixer, where they are recorded. `conv` is as kernels keep
  // it, see last_conv_inputs().
  void check_states(const std::string& prefix, std::span<const float> conv, std::span<const float> ssm);
};

// Compares every tensor of the case, whose module its name says: "module_rmsnorm", "module_mamba1", ...;
// kNotSupported for modules whose kernels do not exist yet.
Status run_module_case(const std::string& directory, const std::string& name, Report& report,
                       Parallel& parallel);

// The modules, one function each.
Status run_norm(ModuleCase& c, bool layer_norm);
Status run_mlp(ModuleCase& c);
Status run_gated_memory(ModuleCase& c);
Status run_rope(ModuleCase& c);
Status run_cross_entropy(ModuleCase& c);
Status run_attention(ModuleCase& c, bool cross);
Status run_differential_attention(ModuleCase& c);
Status run_mamba(ModuleCase& c);
Status run_mamba2(ModuleCase& c);
Status run_gated_delta(ModuleCase& c);

using Values = std::vector<float>;
inline Values values(int64_t count) { return Values(static_cast<size_t>(count)); }
void add_into(Values& sum, std::span<const float> more);

// The last inputs of a convolution, recorded as [B, channels, conv] with one value more than is kept, as
// kernels keep them: [B, conv - 1, channels], oldest first.
Values last_conv_inputs(const RecordedTensor& recorded);

// The first positions of every sequence of [B, T, dim], T at least `count`.
Values first_positions(const RecordedTensor& tensor, int64_t count);

// Dense products for backward, in double: y = x w^T is kernels::linear.
std::vector<float> linear(std::span<const float> x, std::span<const float> weight,
                          std::span<const float> bias, int64_t rows, int64_t in, int64_t out,
                          Parallel& parallel);
std::vector<float> linear_grad_x(std::span<const float> grad_y, std::span<const float> weight, int64_t rows,
                                 int64_t in, int64_t out);
std::vector<float> linear_grad_weight(std::span<const float> grad_y, std::span<const float> x, int64_t rows,
                                      int64_t in, int64_t out);
std::vector<float> sum_rows(std::span<const float> grad_y, int64_t rows, int64_t out);

}  // namespace fathom::cli::verify
