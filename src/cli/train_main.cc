// fathom-train: what needs LibTorch. `fathom train` and `fathom verify` start it.
#include <unistd.h>

#include <cstdlib>

#include "cli/train_commands.h"

namespace {

// A habit of the process is settled by its environment before main(), so it starts anew with it set:
// LibTorch's threads wait for each other by spinning, for milliseconds. On a machine that others use too they
// take the cores that the work needs (ten times slower, measured). A short spin costs nothing when the
// machine is free.
void settle_environment(char** argv) {
  if (std::getenv("FATHOM_TRAIN_SETTLED") != nullptr) return;
  ::setenv("FATHOM_TRAIN_SETTLED", "1", 1);
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) ::setenv("GOMP_SPINCOUNT", "10000", 0);
  ::execv("/proc/self/exe", argv);  // if that fails, it runs as it is
}

}  // namespace

int main(int argc, char** argv) {
  settle_environment(argv);
  return fathom::cli::run_train_program(argc, argv);
}
