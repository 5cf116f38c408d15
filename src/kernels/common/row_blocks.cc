#include "kernels/common/row_blocks.h"

#include <cstring>

namespace fathom::kernels {

void reduce_row_blocks(const float* partial, int64_t blocks, int64_t dim, float* out, Parallel& parallel) {
  parallel.run(dim, 256, [&](int64_t begin, int64_t end, int) {
    std::memset(out + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
    for (int64_t b = 0; b < blocks; ++b) {
      for (int64_t d = begin; d < end; ++d) out[d] += partial[b * dim + d];
    }
  });
}

}  // namespace fathom::kernels
