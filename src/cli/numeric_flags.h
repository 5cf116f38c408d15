// In which types a model runs, from flags that all commands which run one share.
#pragma once

#include <optional>
#include <string>

#include "base/dtype.h"
#include "cli/command.h"

namespace fathom::cli {

// Of matrices: the type that a flag names; without one int8 where they are stored so, else `usual`.
struct MatrixChoice {
  std::optional<DType> named;
  DType usual = DType::kF32;
};

// The words of --dtype, and what one of them, or none, says.
CLI::IsMember matrix_type_words();
MatrixChoice matrix_choice(const std::string& word, DType usual);

// Made with the defaults.
struct NumericFlags {
  DType usual = DType::kF32;
  std::string kv_type = "f32";
  std::string dtype;

  MatrixChoice matrices() const { return matrix_choice(dtype, usual); }
  DType keys() const { return kv_type == "bf16" ? DType::kBF16 : DType::kF32; }
};

// --dtype, --kv-type. `flags` lives as long as `app`.
void add_numeric_flags(CLI::App& app, NumericFlags& flags);

}  // namespace fathom::cli
