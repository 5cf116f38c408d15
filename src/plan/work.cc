#include "plan/work.h"

#include "base/check.h"
#include "plan/recurrent_blocks.h"

namespace fathom {

namespace {

// Keys that the queries at positions [begin, end) see, on average; the list holds `share` of all tokens.
double keys_between(double begin, double end, double share, int64_t window) {
  const auto seen_before = [&](double position) {
    return position > 0 ? position * share * mean_keys(position * share, window) : 0;
  };
  return (seen_before(end) - seen_before(begin)) / ((end - begin) * share);
}

class DecodeCounter {
 public:
  DecodeCounter(const ModelPlan& plan, int64_t begin, int64_t end, const MatrixTypes& matrix_type,
                DType kv_type)
      : plan_(plan),
        begin_(static_cast<double>(begin)),
        end_(static_cast<double>(end)),
        matrix_type_(matrix_type),
        kv_type_(kv_type) {}

  DecodeBytes run() {
    total_.small += static_cast<double>(bytes_of(plan_, plan_.embedding.first, matrix_type_)) /
                    static_cast<double>(plan_.dims.vocab_size);
    add(plan_.head, 0, 1, total_.head);
    add_norm(plan_.final_norm, 0, 1);
    for (const Segment& segment : plan_.segments) {
      for (int32_t depth = 0; depth < segment.repeat; ++depth) add_depth(segment, depth);
    }
    return total_;
  }

 private:
  void add_depth(const Segment& segment, int32_t depth) {
    const double share = running_share(segment, depth);
    if (segment.router) {
      const std::vector<double>& capacity = segment.router->spec.capacity;
      const double asked = depth == 0 ? 1.0 : capacity[static_cast<size_t>(depth) - 1];
      add(segment.router->weight, depth, asked, total_.small);
      add(segment.router->hidden, depth, asked, total_.small);
    }
    if (share <= 0) return;
    for (const Layer& layer : segment.layers) {
      add_norm(layer.norm1, depth, share);
      add_norm(layer.norm2, depth, share);
      for (const ParamRef& ref : {layer.mlp.gate, layer.mlp.up, layer.mlp.down})
        add(ref, depth, share, total_.products);
      for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
        if (is_of_keys(matrix.projection) && !makes_keys(segment, layer, depth)) continue;
        add(matrix.adapter->a, depth, share, total_.products);
        add(matrix.adapter->b, depth, share, total_.products);
        add(matrix.adapter->magnitude, depth, share, total_.small);
      }
      add(layer.encoding, depth, share, total_.small);
      std::visit([&](const auto& mixer) { add_mixer(mixer, segment, layer, depth, share); }, layer.mixer);
    }
  }

  void add_mixer(const Attention& a, const Segment& segment, const Layer& layer, int32_t depth,
                 double share) {
    const KeySource source = key_source(segment, layer, depth);
    for (const ParamRef& ref : {a.q, a.o}) add(ref, depth, share, total_.products);
    for (const ParamRef& ref : {a.q_bias, a.o_bias}) add(ref, depth, share, total_.small);
    if (a.differential) add(a.differential->sub_norm, depth, share, total_.small);
    const bool writes = source == KeySource::kOwn || source == KeySource::kMerged;
    if (writes) {
      for (const ParamRef& ref : {a.k, a.v}) add(ref, depth, share, total_.products);
      for (const ParamRef& ref : {a.k_bias, a.v_bias}) add(ref, depth, share, total_.small);
    }
    // An own list of keys holds the tokens that came this far, every other one all tokens. Merged keys are
    // copied for the tokens that did not come.
    const double held = source == KeySource::kOwn && segment.kv == KvMode::kRecursionWise ? share : 1.0;
    const auto entry = static_cast<double>(2 * a.num_kv_heads * a.head_dim * size_of(kv_type_));
    const double copied = source == KeySource::kMerged ? 2 * (1 - share) : 0;
    total_.kv += entry * (share * (keys_between(begin_, end_, held, a.window) + (writes ? 1 : 0)) + copied);
    if (!a.prompt) return;
    // Of the prompt its keys and values are read, which are float, and not its tokens.
    const auto floats = static_cast<double>(2 * a.num_kv_heads * a.head_dim * a.prompt->length);
    total_.kv += share * floats * static_cast<double>(size_of(DType::kF32));
    add(a.prompt->gate, depth, share, total_.small);
  }

  void add_mixer(const Mamba& m, const Segment&, const Layer&, int32_t depth, double share) {
    for (const ParamRef& ref : {m.in_x, m.in_z, m.x_proj, m.dt_proj, m.out_proj})
      add(ref, depth, share, total_.products);
    for (const ParamRef& ref : {m.conv_weight, m.conv_bias, m.dt_bias, m.a_log, m.d})
      add(ref, depth, share, total_.small);
    add_state(state_of(m), share);
  }

  void add_mixer(const Mamba2& m, const Segment&, const Layer&, int32_t depth, double share) {
    for (const ParamRef& ref : {m.in_z, m.in_xbc, m.in_dt, m.out_proj})
      add(ref, depth, share, total_.products);
    for (const ParamRef& ref : {m.conv_weight, m.conv_bias, m.dt_bias, m.a_log, m.d, m.norm})
      add(ref, depth, share, total_.small);
    add_state(state_of(m), share);
  }

  void add_mixer(const GatedDelta& d, const Segment&, const Layer&, int32_t depth, double share) {
    for (const ParamRef& ref : {d.q, d.k, d.v, d.g, d.a, d.b, d.o}) add(ref, depth, share, total_.products);
    for (const ParamRef& ref : {d.q_conv, d.k_conv, d.v_conv, d.dt_bias, d.a_log, d.norm})
      add(ref, depth, share, total_.small);
    add_state(state_of(d), share);
  }

  void add_mixer(const GatedMemory& gmu, const Segment&, const Layer&, int32_t depth, double share) {
    for (const ParamRef& ref : {gmu.in_proj, gmu.out_proj}) add(ref, depth, share, total_.products);
    add(gmu.norm, depth, share, total_.small);
  }

  // What a recurrent mixer keeps is read and written.
  void add_state(const Slot& slot, double share) {
    const auto floats = [](int64_t count) { return static_cast<double>(2 * count * size_of(DType::kF32)); };
    total_.conv += share * floats(slot.channels * (slot.conv - 1));
    total_.ssm += share * floats(slot.inner * slot.state);
  }

  void add_norm(const Norm& norm, int32_t depth, double share) {
    add(norm.weight, depth, share, total_.small);
    add(norm.bias, depth, share, total_.small);
  }

  void add(const ParamRef& ref, int32_t depth, double share, double& sum) const {
    if (!ref.present()) return;
    sum += share * static_cast<double>(bytes_of(plan_, ref.at(depth), matrix_type_));
  }

  const ModelPlan& plan_;
  const double begin_, end_;
  const MatrixTypes& matrix_type_;
  const DType kv_type_;
  DecodeBytes total_;
};

}  // namespace

FlopCount count_work(const ModelPlan& plan, int64_t begin, int64_t end, int64_t logit_rows) {
  FATHOM_CHECK(0 <= begin && begin < end && logit_rows <= end - begin, "an empty stretch of positions");
  // count_flops() is a mean over a sequence from its start; only attention depends on the position.
  const FlopCount whole = count_flops(plan, end);
  const auto rows = static_cast<double>(end - begin);
  FlopCount count = {.linear = rows * whole.linear,
                     .attention = static_cast<double>(end) * whole.attention,
                     .scan = rows * whole.scan,
                     .head = static_cast<double>(logit_rows) * whole.head,
                     .router = rows * whole.router};
  if (begin > 0) count.attention -= static_cast<double>(begin) * count_flops(plan, begin).attention;
  return count;
}

namespace {

void add(FlopCount& sum, double times, const FlopCount& more) {
  sum.linear += times * more.linear;
  sum.attention += times * more.attention;
  sum.scan += times * more.scan;
  sum.head += times * more.head;
  sum.router += times * more.router;
}

}  // namespace

FlopCount count_prefill_work(const ModelPlan& plan, int64_t begin, int64_t end, int64_t wanted) {
  FATHOM_CHECK(0 <= begin && begin < end && 0 <= wanted && wanted <= end - begin,
               "an empty stretch of positions");
  const int32_t last = last_state_layer(plan);
  FlopCount work;
  int32_t unrolled = 0;
  for (const Segment& segment : plan.segments) {
    const int32_t first = unrolled;
    for (int32_t depth = 0; depth < segment.repeat; ++depth) {
      // A router decides for the rows that enter its segment.
      const int64_t asked = first > last ? wanted : end - begin;
      if (segment.router)
        work.router += static_cast<double>(asked) * count_router_flops(plan, segment, depth);
      for (const Layer& layer : segment.layers) {
        const bool stops = unrolled >= last && !(segment.router && first <= last);
        const int64_t from = stops ? end - wanted : begin;
        const auto rows = static_cast<double>(end - begin), left = rows - static_cast<double>(wanted);
        // Means over sequences from their start: see count_work().
        if (from < end)
          add(work, static_cast<double>(end), count_layer_flops(plan, segment, layer, depth, end));
        if (from < end && from > 0)
          add(work, -static_cast<double>(from), count_layer_flops(plan, segment, layer, depth, from));
        if (stops && unrolled == last) add(work, left, count_layer_state_flops(plan, layer));
        ++unrolled;
      }
    }
  }
  work.head = static_cast<double>(wanted) * count_flops(plan, end).head;
  return work;
}

DecodeBytes count_decode_bytes(const ModelPlan& plan, int64_t begin, int64_t end,
                               const MatrixTypes& matrix_type, DType kv_type) {
  FATHOM_CHECK(0 <= begin && begin < end, "an empty stretch of positions");
  return DecodeCounter(plan, begin, end, matrix_type, kv_type).run();
}

int64_t count_weight_bytes(const ModelPlan& plan, const MatrixTypes& matrix_type) {
  int64_t total = 0;
  for (size_t p = 0; p < plan.params.size(); ++p)
    total += bytes_of(plan, static_cast<int32_t>(p), matrix_type);
  return total;
}

ModelPlan with_depth_shares(const ModelPlan& plan, std::span<const double> shares) {
  ModelPlan changed = plan;
  for (Segment& segment : changed.segments) {
    if (!segment.router) continue;
    std::vector<double>& capacity = segment.router->spec.capacity;
    for (size_t r = 0; r < capacity.size(); ++r) capacity[r] = r < shares.size() ? shares[r] : 0.0;
  }
  return changed;
}

}  // namespace fathom
