#include "cli/numeric_flags.h"

#include "plan/matrix_types.h"

namespace fathom::cli {

CLI::IsMember matrix_type_words() { return CLI::IsMember({"f32", "bf16", "int8"}); }

MatrixChoice matrix_choice(const std::string& word, DType usual) {
  MatrixChoice choice{.named = {}, .usual = usual};
  if (!word.empty()) choice.named = matrix_type_named(word);
  return choice;
}

void add_numeric_flags(CLI::App& app, NumericFlags& flags) {
  app.add_option("--dtype", flags.dtype,
                 "of the matrices: f32, bf16 or int8 (default: int8 if they are stored so, else " +
                     std::string(name_of(flags.usual)) + ")")
      ->check(matrix_type_words());
  app.add_option("--kv-type", flags.kv_type, "of the key-value cache")->check(CLI::IsMember({"f32", "bf16"}));
}

}  // namespace fathom::cli
