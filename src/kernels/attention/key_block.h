// How the keys and values of one block lie. A block is kKeyBlock entries of kv_heads * head_dim elements,
// dense in every layout.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace fathom::kernels {

constexpr int64_t kKeyBlock = 64;
// Keys of a panel of keys. As many dimensions have a panel of values, or all where they are no multiple of
// it.
constexpr int64_t kPanelKeys = 32;
constexpr int64_t panel_dims(int64_t head_dim) { return head_dim % 32 == 0 ? 32 : head_dim; }

enum class KeyLayout : uint8_t {
  // [kKeyBlock, kv_heads, head_dim]: what comes out of a projection, and what training has.
  kRows,
  // Head by head, in panels that attention multiplies by where they lie and reads from end to end. Values are
  // [kv_heads, head_dim / w, kKeyBlock, w], w = panel_dims(head_dim). Keys are columns: [kv_heads, 2,
  // head_dim,
  // kPanelKeys], and in bfloat16 with dimensions 2d and 2d + 1 side by side [kv_heads, 2, head_dim / 2,
  // kPanelKeys, 2], head_dim even.
  kPanels,
};

// The layout that attention reads fastest: panels where there can be any.
constexpr KeyLayout panel_layout(DType type, int64_t head_dim) {
  return type == DType::kBF16 && head_dim % 2 != 0 ? KeyLayout::kRows : KeyLayout::kPanels;
}

// Where element (head, d) of entry j of a block lies. Dimensions go in groups of neighbours, and so do
// entries.
struct KeyPlaces {
  int64_t dims, keys;  // of a group
  int64_t head, dim_group, key_group, key;

  int64_t at(int64_t of_head, int64_t d, int64_t j) const {
    return of_head * head + d / dims * dim_group + d % dims + j / keys * key_group + j % keys * key;
  }
};
constexpr KeyPlaces value_places(KeyLayout layout, int64_t kv_heads, int64_t head_dim) {
  if (layout == KeyLayout::kRows) return {head_dim, kKeyBlock, head_dim, 0, 0, kv_heads * head_dim};
  const int64_t dims = panel_dims(head_dim);
  return {dims, kKeyBlock, kKeyBlock * head_dim, kKeyBlock * dims, 0, dims};
}
constexpr KeyPlaces key_places(KeyLayout layout, DType type, int64_t kv_heads, int64_t head_dim) {
  if (layout == KeyLayout::kRows) return value_places(layout, kv_heads, head_dim);
  const int64_t together = type == DType::kBF16 ? 2 : 1;
  return {together, kPanelKeys, kKeyBlock * head_dim, kPanelKeys * together, kPanelKeys * head_dim, together};
}

}  // namespace fathom::kernels
