#include "train/recurrent_mixers.h"

namespace fathom::train {

namespace {

// Projections of the same rows, without bias.
std::vector<Tensor> projected(const RecurrentPlace& place, const Tensor& x,
                              const std::vector<ParamRef>& weights) {
  std::vector<LinearWeights> layers;
  for (const ParamRef& weight : weights) layers.push_back({place.parameters.at(weight, place.depth), {}});
  return linears(x, layers, place.precision);
}

// What stands behind the recurrence: the gate, a norm where there is one, the projection.
RecurrentResult gated(const RecurrentPlace& place, const Tensor& y, const Tensor& gate, const ParamRef& norm,
                      double eps, const ParamRef& out_proj) {
  const Tensor opened = gated_memory(y, gate, place.parameters.at(norm, place.depth), eps);
  return {projected(place, opened, {out_proj}).front(), y};
}

}  // namespace

RecurrentResult mix(const Mamba& m, const RecurrentPlace& place, const Tensor& u) {
  const auto of = [&](const ParamRef& ref) { return place.parameters.at(ref, place.depth); };
  const std::vector<Tensor> z_x = projected(place, u, {m.in_z, m.in_x});
  const Tensor x = causal_conv1d(z_x[1], of(m.conv_weight), of(m.conv_bias), place.sequences);
  const Tensor dt_b_c = projected(place, x, {m.x_proj}).front();
  const Tensor dt = projected(place, dt_b_c.narrow(1, 0, m.dt_rank), {m.dt_proj}).front();
  const Tensor y =
      selective_scan(x, dt, of(m.dt_bias), of(m.a_log), dt_b_c, of(m.d), m.dt_rank, place.sequences);
  return gated(place, y, z_x[0], {}, 0, m.out_proj);
}

RecurrentResult mix(const Mamba2& m, const RecurrentPlace& place, const Tensor& u) {
  const auto of = [&](const ParamRef& ref) { return place.parameters.at(ref, place.depth); };
  const std::vector<Tensor> in = projected(place, u, {m.in_z, m.in_xbc, m.in_dt});
  const Tensor xbc = causal_conv1d(in[1], of(m.conv_weight), of(m.conv_bias), place.sequences);
  const Tensor y = ssd_scan(xbc, in[2], of(m.dt_bias), of(m.a_log), of(m.d), {m.head_dim, m.state, m.groups},
                            place.sequences);
  return gated(place, y, in[0], m.norm, m.norm_eps, m.out_proj);
}

RecurrentResult mix(const GatedDelta& d, const RecurrentPlace& place, const Tensor& u) {
  const auto of = [&](const ParamRef& ref) { return place.parameters.at(ref, place.depth); };
  const std::vector<Tensor> in = projected(place, u, {d.q, d.k, d.v, d.g, d.a, d.b});
  const auto convolved = [&](const Tensor& x, const ParamRef& weight) {
    return causal_conv1d(x, of(weight), {}, place.sequences);
  };
  const Tensor y = gated_delta({.q = convolved(in[0], d.q_conv),
                                .k = convolved(in[1], d.k_conv),
                                .v = convolved(in[2], d.v_conv),
                                .dt = in[4],
                                .b = in[5],
                                .dt_bias = of(d.dt_bias),
                                .a_log = of(d.a_log)},
                               place.sequences);
  return gated(place, y, in[3], d.norm, d.norm_eps, d.o);
}

}  // namespace fathom::train
