#include "plan/layer_sources.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/random.h"

namespace fathom {

namespace {

// `count` places from `first` to `last`, evenly spread, halves rounded to the even neighbour.
std::vector<int32_t> spread(int32_t first, int32_t last, int32_t count) {
  std::vector<int32_t> places;
  const double step = count > 1 ? static_cast<double>(last - first) / (count - 1) : 0;
  for (int32_t i = 0; i < count; ++i) {
    const bool end = i > 0 && i == count - 1;
    places.push_back(end ? last : static_cast<int32_t>(std::nearbyint(first + i * step)));
  }
  return places;
}

std::vector<int32_t> counted(int32_t first, int32_t count) {
  std::vector<int32_t> places(static_cast<size_t>(count));
  std::iota(places.begin(), places.end(), first);
  return places;
}

// The repeated part of a model: `blocks` different layers, each standing at `repeat` of the places from
// `first` on.
struct Repeated {
  int32_t first = 0, blocks = 0, repeat = 0;
  bool in_sequence = false;
  int32_t last() const { return first + blocks * repeat - 1; }
  int32_t block_at(int32_t place) const {
    return in_sequence ? (place - first) / repeat : (place - first) % blocks;
  }
};

// The places that each block starts from, among `places` of them from `first` on.
std::vector<std::vector<int32_t>> starts_of(const Repeated& part, int32_t places, Initialization rule,
                                            const DrawPlaces& draw) {
  std::vector<std::vector<int32_t>> starts(static_cast<size_t>(part.blocks));
  if (rule == Initialization::kAverage) {
    for (int32_t place = part.first; place <= part.last(); ++place)
      starts[static_cast<size_t>(part.block_at(place))].push_back(place);
    return starts;
  }
  std::vector<int32_t> chosen;
  if (rule == Initialization::kStepwise) chosen = spread(part.first, part.first + places - 1, part.blocks);
  if (rule == Initialization::kLower) chosen = counted(part.first, part.blocks);
  if (rule == Initialization::kUpper) chosen = counted(part.first + places - part.blocks, part.blocks);
  if (rule == Initialization::kRandom) chosen = draw(part.first, places, part.blocks);
  FATHOM_CHECK(chosen.size() == starts.size(), "a rule gives each shared layer one place");
  for (size_t i = 0; i < starts.size(); ++i) starts[i] = {chosen[i]};
  return starts;
}

}  // namespace

DrawPlaces draw_with(uint64_t seed) {
  return [seed](int32_t first, int32_t places, int32_t count) {
    // Apart from those of parameters, whose streams are their numbers.
    constexpr uint64_t kStream = uint64_t{1} << 40;
    RandomStream random(seed, kStream);
    std::vector<int32_t> drawn = counted(first, places);
    for (int32_t i = 0; i < count; ++i) {
      const auto other = i + static_cast<int32_t>(random.next_below(static_cast<uint64_t>(places - i)));
      std::swap(drawn[static_cast<size_t>(i)], drawn[static_cast<size_t>(other)]);
    }
    drawn.resize(static_cast<size_t>(count));
    std::ranges::sort(drawn);
    return drawn;
  };
}

LayerSources layer_sources(const ModelSpec& spec, Initialization rule, const DrawPlaces& draw) {
  FATHOM_CHECK(spec.sharing != Sharing::kNone, "a model without sharing has no shared layers to start");
  const auto layers = static_cast<int32_t>(spec.num_hidden_layers);
  const bool middle = spec.sharing == Sharing::kMiddleCycle || spec.sharing == Sharing::kMiddleSequence;
  const int32_t ends = middle ? 1 : 0;
  const bool reduced = spec.base_depth > 0;
  Repeated part;
  part.first = ends;
  part.in_sequence = spec.sharing == Sharing::kSequence || spec.sharing == Sharing::kMiddleSequence;
  part.repeat = static_cast<int32_t>(reduced ? layers / spec.base_depth : spec.num_recursion);
  part.blocks = static_cast<int32_t>(reduced ? spec.base_depth : (layers - 2 * ends) / spec.num_recursion);

  LayerSources result;
  const int32_t inner = reduced ? layers : part.blocks * part.repeat;
  if (middle) result.kept.push_back(0);
  for (int32_t place : spread(ends, layers - 1 - ends, inner)) result.kept.push_back(place);
  if (middle) result.kept.push_back(layers - 1);

  std::vector<std::vector<int32_t>> starts = starts_of(part, inner, rule, draw);
  for (std::vector<int32_t>& places : starts) {
    for (int32_t& place : places) place = result.kept[static_cast<size_t>(place)];
  }
  const auto add = [&](int32_t shared, std::vector<int32_t> sources) {
    result.shared.push_back(shared);
    result.sources.push_back(std::move(sources));
  };
  if (middle) add(0, {0});
  const int32_t unrolled = reduced ? part.blocks : inner;
  for (int32_t i = 0; i < unrolled; ++i) {
    const int32_t block = reduced ? i : part.block_at(part.first + i);
    add(ends + block, starts[static_cast<size_t>(block)]);
  }
  if (middle) add(part.blocks + 1, {layers - 1});
  return result;
}

}  // namespace fathom
