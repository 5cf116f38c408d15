#include "kernels/differential_norm/differential_norm_levels.h"
#include "kernels/simd/rounding.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

FATHOM_INLINE void fwd_in_bf16_steps(const DifferentialNormFwd& args, int64_t begin, int64_t end) {
  const int64_t dim = args.dim;
  const auto difference = [&](const float* first, int64_t d, int64_t n) {
    const Vec second = round_bf16(args.lambda * load_n(first + dim + d, n));
    return round_bf16(load_n(first + d, n) - second);
  };
  for (int64_t p = begin * args.pairs; p < end * args.pairs; ++p) {
    const float* first = args.x + 2 * p * dim;
    Vec squares = {};
    for (int64_t d = 0; d < dim; d += kLanes) {
      const Vec m = difference(first, d, lanes_left(dim - d));
      squares = fma(m, m, squares);
    }
    const float rstd = 1.0F / __builtin_sqrtf(sum(squares) / (float)dim + args.eps);
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec normed = round_bf16(difference(first, d, n) * rstd);
      store_n(args.y + p * dim + d, round_bf16(round_bf16(normed * load_n(args.weight + d, n)) * args.scale),
              n);
    }
  }
}

}  // namespace

void differential_norm_fwd_rows(const DifferentialNormFwd& args, int64_t begin, int64_t end) {
  if (args.bf16_steps) return fwd_in_bf16_steps(args, begin, end);
  const int64_t dim = args.dim;
  const Vec minus = broadcast(-args.lambda);
  for (int64_t p = begin * args.pairs; p < end * args.pairs; ++p) {
    const float* first = args.x + 2 * p * dim;
    const float* second = first + dim;
    float* y = args.y + p * dim;
    Vec squares = {};
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec m = fma(minus, load_n(second + d, n), load_n(first + d, n));
      squares = fma(m, m, squares);
    }
    const float rstd = 1.0F / __builtin_sqrtf(sum(squares) / (float)dim + args.eps);
    if (args.rstd != nullptr) args.rstd[p] = rstd;
    const float factor = rstd * args.scale;
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec m = fma(minus, load_n(second + d, n), load_n(first + d, n));
      store_n(y + d, m * factor * load_n(args.weight + d, n), n);
    }
  }
}

void differential_norm_bwd_rows(const DifferentialNormBwd& args, int64_t begin, int64_t end, float* partial) {
  const int64_t dim = args.dim;
  const Vec minus = broadcast(-args.lambda);
  for (int64_t p = begin * args.pairs; p < end * args.pairs; ++p) {
    const float* first = args.x + 2 * p * dim;
    const float* second = first + dim;
    const float* g = args.grad_y + p * dim;
    const float rstd = args.rstd[p], factor = rstd * args.scale;
    Vec projection = {};
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec m = fma(minus, load_n(second + d, n), load_n(first + d, n));
      projection = fma(load_n(g + d, n) * load_n(args.weight + d, n), m, projection);
    }
    const float pull = sum(projection) * args.scale * rstd * rstd * rstd / (float)dim;
    Vec of_second = {};
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lanes_left(dim - d);
      const Vec other = load_n(second + d, n), gv = load_n(g + d, n);
      const Vec m = fma(minus, other, load_n(first + d, n));
      store_n(partial + d, fma(gv, m * factor, load_n(partial + d, n)), n);
      const Vec grad = gv * load_n(args.weight + d, n) * factor - m * pull;
      of_second = fma(grad, other, of_second);
      store_n(args.grad_x + 2 * p * dim + d, grad, n);
      store_n(args.grad_x + (2 * p + 1) * dim + d, minus * grad, n);
    }
    partial[dim] -= sum(of_second);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
