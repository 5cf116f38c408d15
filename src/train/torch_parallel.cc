// The one unit compiled with OpenMP: at::parallel_for is a loop on one thread without it.
#include "train/torch_parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "base/extents.h"
#include "base/machine_limits.h"

namespace fathom::train {

int TorchParallel::num_threads() const { return at::get_num_threads(); }

// at::parallel_for gives every thread one equal part; who is done early takes more here.
void TorchParallel::run(int64_t count, int64_t grain, FunctionRef<void(int64_t, int64_t, int)> body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(1, grain);
  const int64_t workers = std::min<int64_t>(num_threads(), ceil_div(count, grain));
  SharedRange range;
  range.reset(count, grain, static_cast<int>(workers));
  at::parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    int64_t begin = 0, end = 0;
    while (range.take(begin, end)) body(begin, end, at::get_thread_num());
  });
}

Parallel& torch_parallel() {
  static TorchParallel instance;
  return instance;
}

void set_threads(int threads) {
  at::set_num_threads(threads > 0 ? threads : std::min(at::get_num_threads(), available_cores()));
}

}  // namespace fathom::train
