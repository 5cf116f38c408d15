#include "cli/bench/bench_model.h"

#include <filesystem>

#include "cli/loaded_model.h"
#include "cli/model_specs.h"
#include "plan/spec_io.h"
#include "weights/random_weights.h"

namespace fathom::cli::bench {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kSeed = 1;

std::string name_in(const std::string& path) {
  const fs::path normal = fs::path(path).lexically_normal();
  const fs::path last = normal.has_filename() ? normal.filename() : normal.parent_path().filename();
  return last.extension() == ".toml" || last.extension() == ".json" ? last.stem().string() : last.string();
}

}  // namespace

Result<BenchModel> open_bench_model(const std::string& model, const MatrixChoice& matrices,
                                    Parallel& parallel) {
  BenchModel out{.name = name_in(model), .given = model};
  std::error_code ignored;
  if (fs::is_directory(model, ignored)) {
    FATHOM_ASSIGN(LoadedWeights loaded, load_weights_of(model, matrices, /*check_tensors=*/false, &parallel));
    out.matrix_type = loaded.matrix_type;
    out.plan = std::move(loaded.plan);
    out.weights = std::move(loaded.weights);
    return out;
  }
  FATHOM_ASSIGN(const ModelSpec spec, find_spec(model));
  FATHOM_ASSIGN(out.plan, build_plan(spec));
  out.matrix_type = {matrices.named.value_or(matrices.usual), matrices.group};
  out.weights = std::make_unique<const Weights>(random_weights(out.plan, kSeed, out.matrix_type, parallel));
  out.random = true;
  return out;
}

}  // namespace fathom::cli::bench
