#include "cli/train_commands.h"
#include "train/tensor_memory.h"

namespace fathom::cli {

int run_train_program(int argc, char** argv) {
  train::use_arena_for_tensors();
  return run_commands(
      "fathom-train", "The training half of Fathom.",
      {
          {"run", "one training run", declare_train_run},
          {"bench", "steps on random tokens: speed, share of the product peak, time by op",
           declare_train_bench},
          {"verify", "compare one recorded case in the training executor", declare_train_verify},
      },
      argc, argv);
}

}  // namespace fathom::cli
