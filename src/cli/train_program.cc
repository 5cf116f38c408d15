#include <malloc.h>

#include "cli/train_commands.h"

namespace fathom::cli {

int run_train_program(int argc, char** argv) {
  // Activations of megabytes come and go every step: keep their pages instead of returning them to the system
  // and having them zeroed again, which costs a fifth of a step.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2047 << 20);
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
