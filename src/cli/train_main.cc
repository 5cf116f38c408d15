// fathom-train: what needs LibTorch. `fathom train` and `fathom verify` start it.
#include <unistd.h>

#include <cstdlib>

#include "cli/train_commands.h"

namespace {

// Two habits of the process are settled by its environment before main(), so it starts anew with them set.
//
// LibTorch's threads wait for each other by spinning, for milliseconds: on a machine that others use too they
// take the cores that the work needs (ten times slower, measured). A short spin costs nothing when the
// machine is free. And the heap asks for large pages: a step touches gigabytes, a page of 4 KiB at a time
// otherwise.
void settle_environment(char** argv) {
  if (std::getenv("FATHOM_TRAIN_SETTLED") != nullptr) return;
  ::setenv("FATHOM_TRAIN_SETTLED", "1", 1);
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) ::setenv("GOMP_SPINCOUNT", "10000", 0);
  ::setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 0);
  ::execv("/proc/self/exe", argv);  // if that fails, it runs as it is
}

}  // namespace

int main(int argc, char** argv) {
  settle_environment(argv);
  return fathom::cli::run_train_program(argc, argv);
}
