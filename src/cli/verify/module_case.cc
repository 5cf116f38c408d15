#include "cli/verify/module_case.h"

#include <filesystem>
#include <set>

#include "base/json.h"
#include "kernels/linear/linear.h"

namespace fathom::cli::verify {

Result<int64_t> ModuleCase::size(const std::string& key) const {
  if (!config.contains(key)) return invalid(path + "/config.json: key " + key + " is missing");
  if (!config[key].is_number_integer() || config[key].get<int64_t>() < 1 ||
      config[key].get<int64_t>() > (1 << 20)) {
    return invalid(path + "/config.json: " + key + " is " + config[key].dump() +
                   ", expected a size of 1 to 1048576");
  }
  return config[key].get<int64_t>();
}

Status ModuleCase::known_keys(std::initializer_list<const char*> keys) const {
  const std::set<std::string> known(keys.begin(), keys.end());
  for (const auto& [key, value] : config.items()) {
    if (!known.contains(key)) return invalid(path + "/config.json: unknown key " + key);
  }
  return {};
}

void ModuleCase::check_gradient(const std::string& tensor, std::span<const float> got) {
  if (io.has(tensor)) report.compare("kernels", tensor, Kind::kGradients, got, io.at(tensor).values);
}

void ModuleCase::check_states(const std::string& prefix, std::span<const float> conv,
                              std::span<const float> ssm) {
  if (io.has(prefix + ".conv")) {
    report.compare("kernels", prefix + ".conv", Kind::kModules, conv,
                   last_conv_inputs(io.at(prefix + ".conv")));
  }
  check(prefix + ".ssm", ssm);
}

namespace {

struct Module {
  const char* prefix;
  Status (*run)(ModuleCase&);
};

// Longest prefixes first where one is the start of another.
const Module kModules[] = {
    {"module_rmsnorm", [](ModuleCase& c) { return run_norm(c, false); }},
    {"module_layernorm", [](ModuleCase& c) { return run_norm(c, true); }},
    {"module_mlp", run_mlp},
    {"module_gmu", run_gated_memory},
    {"module_rope", run_rope},
    {"module_cross_entropy", run_cross_entropy},
    {"module_cross_attention", [](ModuleCase& c) { return run_attention(c, true); }},
    {"module_attention", [](ModuleCase& c) { return run_attention(c, false); }},
    {"module_diff_attention", run_differential_attention},
    {"module_mamba1", run_mamba},
    {"module_mamba2", run_mamba2},
    {"module_gdn", run_gated_delta},
};

}  // namespace

Status run_module_case(const std::string& directory, const std::string& name, Report& report,
                       Parallel& parallel) {
  for (const Module& module : kModules) {
    if (!name.starts_with(module.prefix)) continue;
    FATHOM_ASSIGN(nlohmann::json config, read_json_file(directory + "/config.json"));
    RecordedTensors weights;
    const std::string weights_path = directory + "/weights.safetensors";
    if (std::filesystem::exists(weights_path)) {
      FATHOM_ASSIGN(weights, RecordedTensors::read(weights_path));
    }
    FATHOM_ASSIGN(RecordedTensors io, RecordedTensors::read(directory + "/io.safetensors"));
    ModuleCase c{directory, std::move(config), std::move(weights), std::move(io), report, parallel};
    FATHOM_TRY(module.run(c));
    for (const std::string& tensor : c.io.unseen()) {
      return invalid(directory + "/io.safetensors: unknown tensor " + tensor);
    }
    for (const std::string& tensor : c.weights.unseen()) {
      return invalid(weights_path + ": tensor " + tensor + ", which this module has no use for");
    }
    return {};
  }
  return not_supported("not supported yet: " + name);
}

void add_into(Values& sum, std::span<const float> more) {
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
}

Values last_conv_inputs(const RecordedTensor& recorded) {
  const int64_t batch = recorded.extent(0), channels = recorded.extent(1), conv = recorded.extent(2);
  Values out = values(batch * (conv - 1) * channels);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = 0; i < channels; ++i) {
      for (int64_t k = 1; k < conv; ++k) {
        out[static_cast<size_t>((b * (conv - 1) + k - 1) * channels + i)] =
            recorded.values[static_cast<size_t>((b * channels + i) * conv + k)];
      }
    }
  }
  return out;
}

Values first_positions(const RecordedTensor& tensor, int64_t count) {
  Values out;
  for (int64_t b = 0; b < tensor.extent(0); ++b) {
    const std::span<const float> part = tensor.part(b).first(static_cast<size_t>(count * tensor.extent(2)));
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

std::vector<float> linear(std::span<const float> x, std::span<const float> weight,
                          std::span<const float> bias, int64_t rows, int64_t in, int64_t out,
                          Parallel& parallel) {
  std::vector<float> y(static_cast<size_t>(rows * out));
  std::vector<uint8_t> workspace(static_cast<size_t>(kernels::linear_fwd_workspace(rows, in, DType::kF32)));
  kernels::linear_fwd_cpu({.x = x.data(),
                           .weight = weight.data(),
                           .bias = bias.empty() ? nullptr : bias.data(),
                           .y = y.data(),
                           .rows = rows,
                           .in = in,
                           .out = out,
                           .x_stride = in,
                           .y_stride = out,
                           .workspace = workspace.data()},
                          parallel);
  return y;
}

std::vector<float> linear_grad_x(std::span<const float> grad_y, std::span<const float> weight, int64_t rows,
                                 int64_t in, int64_t out) {
  std::vector<float> grad(static_cast<size_t>(rows * in));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < in; ++i) {
      double sum = 0;
      for (int64_t o = 0; o < out; ++o) {
        sum += double{grad_y[static_cast<size_t>(r * out + o)]} * weight[static_cast<size_t>(o * in + i)];
      }
      grad[static_cast<size_t>(r * in + i)] = static_cast<float>(sum);
    }
  }
  return grad;
}

std::vector<float> linear_grad_weight(std::span<const float> grad_y, std::span<const float> x, int64_t rows,
                                      int64_t in, int64_t out) {
  std::vector<float> grad(static_cast<size_t>(out * in));
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t i = 0; i < in; ++i) {
      double sum = 0;
      for (int64_t r = 0; r < rows; ++r) {
        sum += double{grad_y[static_cast<size_t>(r * out + o)]} * x[static_cast<size_t>(r * in + i)];
      }
      grad[static_cast<size_t>(o * in + i)] = static_cast<float>(sum);
    }
  }
  return grad;
}

std::vector<float> sum_rows(std::span<const float> grad_y, int64_t rows, int64_t out) {
  std::vector<float> sums(static_cast<size_t>(out));
  for (int64_t o = 0; o < out; ++o) {
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) sum += grad_y[static_cast<size_t>(r * out + o)];
    sums[static_cast<size_t>(o)] = static_cast<float>(sum);
  }
  return sums;
}

}  // namespace fathom::cli::verify
