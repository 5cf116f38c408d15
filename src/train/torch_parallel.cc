// The one unit compiled with OpenMP: at::parallel_for is a loop on one thread without it.
#include "train/torch_parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "base/extents.h"

namespace fathom::train {

int TorchParallel::num_threads() const { return at::get_num_threads(); }

// Work is shared out in whole grains: a range of the contract is a multiple of the grain, at::parallel_for's
// is not.
void TorchParallel::run(int64_t count, int64_t grain, FunctionRef<void(int64_t, int64_t, int)> body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(1, grain);
  at::parallel_for(0, ceil_div(count, grain), 1, [&](int64_t begin, int64_t end) {
    body(begin * grain, std::min(end * grain, count), at::get_thread_num());
  });
}

Parallel& torch_parallel() {
  static TorchParallel instance;
  return instance;
}

void set_threads(int threads) { at::set_num_threads(threads); }

}  // namespace fathom::train
