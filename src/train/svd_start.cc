#include "train/svd_start.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_svd.h>

#include "base/check.h"
#include "plan/layer_sources.h"

namespace fathom::train {

namespace {

ParamRef matrix_of(const Layer& layer, Projection projection) {
  const auto& attention = std::get<Attention>(layer.mixer);
  switch (projection) {
    case Projection::kQ:
      return attention.q;
    case Projection::kK:
      return attention.k;
    case Projection::kV:
      return attention.v;
    case Projection::kO:
      return attention.o;
    case Projection::kGate:
      return layer.mlp.gate;
    case Projection::kUp:
      return layer.mlp.up;
    case Projection::kDown:
      break;
  }
  return layer.mlp.down;
}

// a and b from the difference between what the layer had and what it shares.
void start_adapter(const Adapter& adapter, std::span<const float> own, const Tensor& shared, double divisor,
                   const Tensor& a, const Tensor& b) {
  const int64_t out = shared.size(0), in = shared.size(1), rank = adapter.rank;
  FATHOM_CHECK(static_cast<int64_t>(own.size()) == out * in, "the source's matrix has another size");
  const Tensor change = at::empty({out, in}, at::kDouble);
  for (int64_t i = 0; i < out * in; ++i) {
    change.mutable_data_ptr<double>()[i] =
        double{own[static_cast<size_t>(i)]} - shared.const_data_ptr<float>()[i];
  }
  const auto [u, s, v] = at::linalg_svd(change, /*full_matrices=*/false);
  const Tensor left = u.contiguous(), right = v.contiguous();
  for (int64_t k = 0; k < rank; ++k) {
    const double size = s.const_data_ptr<double>()[k] / divisor;
    for (int64_t i = 0; i < in; ++i) {
      a.mutable_data_ptr<float>()[k * in + i] =
          static_cast<float>(right.const_data_ptr<double>()[k * in + i]);
    }
    for (int64_t o = 0; o < out; ++o) {
      b.mutable_data_ptr<float>()[o * rank + k] =
          static_cast<float>(left.const_data_ptr<double>()[o * left.size(1) + k] * size);
    }
  }
}

}  // namespace

SourceMatrix matrices_of(const ModelPlan& vanilla, const Parameters& parameters) {
  FATHOM_CHECK(vanilla.segments.size() == 1 && vanilla.segments[0].repeat == 1,
               "a vanilla model is one segment that is not repeated");
  return [&](int64_t layer, Projection projection) {
    const Layer& found = vanilla.segments[0].layers.at(static_cast<size_t>(layer));
    return parameters.values(matrix_of(found, projection).at(0));
  };
}

void start_adapters(const ModelPlan& plan, const SourceMatrix& source, Parameters& parameters) {
  FATHOM_CHECK(plan.spec.relaxation && plan.spec.relaxation->svd_init != SvdInit::kNone,
               "the model's relaxation asks for no start by singular values");
  const bool exact = plan.spec.relaxation->svd_init == SvdInit::kExact;
  const at::NoGradGuard no_graph;
  const std::vector<int32_t> kept =
      layer_sources(plan.spec, Initialization::kLower, draw_with(0)).kept;  // the same for every rule
  size_t unrolled = 0;
  for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t depth) {
    for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
      const Adapter& adapter = *matrix.adapter;
      start_adapter(adapter, source(kept[unrolled], matrix.projection), parameters.at(matrix.weight, depth),
                    exact ? adapter.scaling : 1.0, parameters.at(adapter.a, depth),
                    parameters.at(adapter.b, depth));
    }
    ++unrolled;
  });
  start_magnitudes(plan, parameters);
}

}  // namespace fathom::train
