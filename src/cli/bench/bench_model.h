// What is benchmarked: a model directory with its weights, or a specification with random ones.
#pragma once

#include <memory>
#include <string>

#include "base/parallel.h"
#include "base/result.h"
#include "cli/numeric_flags.h"
#include "plan/model_plan.h"
#include "weights/weights.h"

namespace fathom::cli::bench {

struct BenchModel {
  std::string name;   // last part of the path, without its ending
  std::string given;  // as the user wrote it
  ModelPlan plan{};
  std::unique_ptr<const Weights> weights{};
  MatrixTypes matrix_type = DType::kBF16;
  bool random = false;
};

// `model` is a directory of weights or of a run, else what find_spec() finds: a TOML or JSON file or a
// built-in name.
Result<BenchModel> open_bench_model(const std::string& model, const MatrixChoice& matrices,
                                    Parallel& parallel);

}  // namespace fathom::cli::bench
