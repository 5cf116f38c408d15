// fathom-train: what needs LibTorch. `fathom train` and `fathom verify` start it.
#include <unistd.h>

#include <cstdlib>

#include "cli/train_commands.h"

namespace {

// LibTorch's threads wait for each other by spinning, for milliseconds: on a machine that others use too they
// take the cores that the work needs (ten times slower, measured). A short spin costs nothing when the
// machine is free. The library reads its environment when it is loaded, before main(): so the program starts
// anew.
void limit_spinning(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "10000", 1);
  ::execv("/proc/self/exe", argv);  // if that fails, it runs as it is
}

}  // namespace

int main(int argc, char** argv) {
  limit_spinning(argv);
  return fathom::cli::run_train_program(argc, argv);
}
