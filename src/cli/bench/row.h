// A line of a benchmark's output as a flat JSON object: the one form that csv, json, jsonl and md are written
// from.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/bench/bench_model.h"
#include "cli/bench/measurement.h"

namespace fathom::cli::bench {

using Json = nlohmann::ordered_json;

// What all lines of a run share.
struct Environment {
  std::string version, commit, processor, isa;
};

// What all lines of one model share.
struct ModelFacts {
  const BenchModel* model = nullptr;
  MatrixTypes matrix_type = DType::kBF16;
  DType kv_type = DType::kBF16;
  Numerics numerics = {};
  int threads = 1;
  int64_t chunk = 0;
  bool prefill_shortcut = true;
  std::string depth_fill{};              // "prefill" or "random"
  std::string read_loop{}, gemm_loop{};  // of tests
  std::string time{};                    // when the model's measurements ended, UTC, ISO 8601
};

// What every row begins with: what ran where, and the model.
Json head_of_row(const Environment& environment, const ModelFacts& facts);

// Keys and units: docs/benchmarks/README.md. Names that llama-bench has mean here what they mean there.
// Values are numbers, strings, null (does not apply) or, last, arrays: samples_* and profile.
Json row_of(const Environment& environment, const ModelFacts& facts, const Measurement& measurement);

}  // namespace fathom::cli::bench
