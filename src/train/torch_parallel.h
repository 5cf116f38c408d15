// LibTorch's intra-op threads behind Parallel: while training there is one pool in the process, and it is
// LibTorch's.
#pragma once

#include "base/parallel.h"

namespace fathom::train {

class TorchParallel final : public Parallel {
 public:
  int num_threads() const override;
  void run(int64_t count, int64_t grain, FunctionRef<void(int64_t, int64_t, int)> body) override;
};

// The pool of this process. set_threads() before its first use.
Parallel& torch_parallel();
// 0: as many as LibTorch takes by itself, but no more than available_cores().
void set_threads(int threads);

}  // namespace fathom::train
