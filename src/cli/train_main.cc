// fathom-train: what needs LibTorch. `fathom train` and `fathom verify` start it.
#include <malloc.h>

#include "cli/train_commands.h"

int main(int argc, char** argv) {
  using namespace fathom::cli;
  // Activations of megabytes come and go every step: keep their pages instead of returning them to the system
  // and having them zeroed again, which costs a fifth of a step.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2047 << 20);
  return run_commands(
      "fathom-train", "The training half of Fathom.",
      {
          {"run", "one training run", declare_train_run},
          {"verify", "compare one recorded case in the training executor", declare_train_verify},
      },
      argc, argv);
}
