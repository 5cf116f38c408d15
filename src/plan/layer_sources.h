// Which layers of a vanilla model fill the layers of a recursive one: layers dropped until the rest fills the
// recursions, then a rule that picks the layers that each shared layer starts from (Mixture-of-Recursions 2.1
// and 2.3).
//
// With L layers left after dropping, b shared layers, and 1 added to places and counts cut by the two ends
// for middle_*:
//   stepwise   round(linspace(0, L - 1, b)), halves to the even neighbour
//   lower      0 .. b - 1
//   upper      L - b .. L - 1
//   random     b of the L places, drawn without replacement, ascending
//   average    the mean of the layers that become one
// The first and last layer of middle_* are what they were. Dropping keeps round(linspace) of the places
// likewise. Under base_depth nothing is dropped: the rule runs with num_recursion = L / base_depth, rounded
// down, and the first base_depth shared layers stay.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "plan/model_spec.h"

namespace fathom {

struct LayerSources {
  std::vector<int32_t> kept;    // the vanilla layers left after dropping, ascending
  std::vector<int32_t> shared;  // [unrolled layers] which layer it is, numbered by first appearance
  // [unrolled layers] the vanilla layers whose mean it starts from, ascending.
  std::vector<std::vector<int32_t>> sources;
};

// Draws `count` different places of [first, first + places), ascending.
using DrawPlaces = std::function<std::vector<int32_t>(int32_t first, int32_t places, int32_t count)>;

// By the counter-based generator, a pure function of `seed`.
DrawPlaces draw_with(uint64_t seed);

// Of a checked spec with a sharing strategy; `draw` is asked for the rule random only. Unrolled layers are in
// the order of for_each_unrolled_layer().
LayerSources layer_sources(const ModelSpec& spec, Initialization rule, const DrawPlaces& draw);

}  // namespace fathom
