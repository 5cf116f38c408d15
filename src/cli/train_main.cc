// fathom-train: what needs LibTorch. `fathom train` and `fathom verify` start it.
#include "cli/train_commands.h"

int main(int argc, char** argv) {
  using namespace fathom::cli;
  return run_commands(
      "fathom-train", "The training half of Fathom.",
      {
          {"run", "one training run", declare_train_run},
          {"verify", "compare one recorded case in the training executor", declare_train_verify},
      },
      argc, argv);
}
