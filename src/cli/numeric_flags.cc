#include "cli/numeric_flags.h"

#include "base/int4.h"

namespace fathom::cli {

CLI::IsMember matrix_type_words() { return CLI::IsMember({"f32", "bf16", "int8", "int4"}); }

MatrixChoice matrix_choice(const std::string& word, DType usual) {
  MatrixChoice choice{.named = {}, .usual = usual, .has_flag = true};
  if (!word.empty()) choice.named = matrix_type_named(word);
  return choice;
}

void add_group_flag(CLI::App& app, int64_t& group) {
  app.add_option(
         "--group", group,
         "columns of a group of --dtype int4, which has a scale and a zero: 32, 64 or 128 (default: " +
             std::to_string(kUsualGroup) + ")")
      ->check(CLI::IsMember(std::vector<int64_t>(std::begin(int4::kGroups), std::end(int4::kGroups))));
}

MatrixChoice NumericFlags::matrices() const {
  MatrixChoice choice = matrix_choice(dtype, usual);
  choice.as_stored = as_stored;
  return choice;
}

Result<Numerics> NumericFlags::numerics(const ModelPlan& plan, DType matrix_type) const {
  const bool reference = rounding == "reference";
  Numerics numerics{
      .rounding = reference ? Rounding::kReference : Rounding::kFast,
      .state_type = state_type == "bf16" || (state_type.empty() && reference) ? DType::kBF16 : DType::kF32};
  FATHOM_TRY(check_numerics(plan, matrix_type, numerics));
  return numerics;
}

void add_rounding_flags(CLI::App& app, NumericFlags& flags) {
  app.add_option("--rounding", flags.rounding,
                 "of activations: fast keeps float between ops; reference rounds to bf16 where the published "
                 "code of Phi-4-mini-flash does")
      ->check(CLI::IsMember({"fast", "reference"}))
      ->capture_default_str();
  app.add_option("--state-dtype", flags.state_type,
                 "of recurrent states, between calls (default: f32, with --rounding reference bf16)")
      ->check(CLI::IsMember({"f32", "bf16"}));
}

void add_numeric_flags(CLI::App& app, NumericFlags& flags) {
  app.add_option("--dtype", flags.dtype,
                 "of the matrices: f32, bf16, int8 or int4 (default: " +
                     (flags.as_stored
                          ? std::string("int4, int8 or bf16 if they are stored so, else f32")
                          : "int4 or int8 if they are stored so, else " + std::string(name_of(flags.usual))) +
                     ")")
      ->check(matrix_type_words());
  app.add_option("--kv-type", flags.kv_type, "of the key-value cache")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  add_rounding_flags(app, flags);
}

}  // namespace fathom::cli
