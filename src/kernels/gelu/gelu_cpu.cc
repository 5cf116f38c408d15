// The reference over several threads. Only MLP routers use it, on rows that are few beside the products
// before them, so its error function is the C library's, the same on every instruction-set level.
#include "kernels/gelu/gelu.h"

namespace fathom::kernels {

namespace {
constexpr int64_t kGrain = 4096;
}

void gelu_fwd_cpu(const GeluFwd& args, Parallel& parallel) {
  parallel.run(args.count, kGrain, [&](int64_t begin, int64_t end, int) {
    gelu_fwd_ref({args.x + begin, args.y + begin, end - begin, args.scale});
  });
}

void gelu_bwd_cpu(const GeluBwd& args, Parallel& parallel) {
  parallel.run(args.count, kGrain, [&](int64_t begin, int64_t end, int) {
    gelu_bwd_ref({args.x + begin, args.grad_y + begin, args.grad_x + begin, end - begin, args.scale});
  });
}

}  // namespace fathom::kernels
