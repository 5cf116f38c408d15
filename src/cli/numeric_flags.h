// In which types a model runs, from flags that all commands which run one share.
#pragma once

#include <optional>
#include <string>

#include "base/dtype.h"
#include "cli/command.h"
#include "engine/numerics.h"
#include "plan/matrix_types.h"

namespace fathom::cli {

// Of matrices: the type that a flag names; without one int4 or int8 where they are stored so, else `usual`
// or, if `as_stored`, bfloat16 where they are stored so, else float.
struct MatrixChoice {
  std::optional<DType> named;
  int64_t group = kUsualGroup;  // of int4, where matrices are not stored so
  DType usual = DType::kF32;
  bool as_stored = false;
  bool has_flag = false;  // the command has --dtype
};

// The words of --dtype, and what one of them, or none, says.
CLI::IsMember matrix_type_words();
MatrixChoice matrix_choice(const std::string& word, DType usual);
// --group, the columns of a group of int4; 0 if it is not given.
void add_group_flag(CLI::App& app, int64_t& group);

// Filled with the command's defaults at first.
struct NumericFlags {
  DType usual = DType::kF32;
  bool as_stored = false;
  std::string kv_type = "f32";
  std::string dtype = {}, rounding = "fast", state_type = {};

  MatrixChoice matrices() const;
  DType keys() const { return kv_type == "bf16" ? DType::kBF16 : DType::kF32; }
  // Of a model whose matrices are `matrix_type`. Errors: check_numerics().
  Result<Numerics> numerics(const ModelPlan& plan, DType matrix_type) const;
};

// --rounding and --state-dtype; with the second form --dtype and --kv-type too. `flags` lives as long as
// `app`.
void add_rounding_flags(CLI::App& app, NumericFlags& flags);
void add_numeric_flags(CLI::App& app, NumericFlags& flags);

}  // namespace fathom::cli
