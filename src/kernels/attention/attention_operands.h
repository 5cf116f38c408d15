// Where the products of a tile find the keys and values of a block: where they lie, or laid out in scratch.
// Included by attention_simd.cc only.
#pragma once

#include "kernels/attention/attention_pack.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

namespace {

// [k, n] as it is multiplied: a row after the other, or columns in panels.
struct Operand {
  const void* data;
  int64_t row;
  int64_t panel = INT64_MAX;
  int64_t next_panel = 0;
  // Of panels: what is read after them, which lies likewise, and the rows of each.
  const char* ahead = nullptr;
  int64_t panel_rows = 0;
};

// Of one unit of KV heads, block after block. kFew: bfloat16 for so few queries that widening it where it is
// used costs less than a copy in floats.
template <bool kBf16, KeyLayout kLayout, bool kFew>
class UnitOperands {
  static constexpr bool kRows = kLayout == KeyLayout::kRows;
  static constexpr int64_t kElement = kBf16 ? 2 : 4;

 public:
  UnitOperands(const AttentionFwd& args, const AttentionTile& tile, const KeyList& list,
               const AttentionFwdScratch& scratch)
      : list_(list),
        scratch_(scratch),
        dim_(args.head_dim),
        value_dim_(args.stripes * args.head_dim),
        value_padded_(tile.value_padded),
        entry_(args.kv_heads * args.head_dim),
        width_(panel_dims(args.head_dim)),
        head_((kRows ? 1 : kKeyBlock) * args.head_dim * kElement),
        unit_(tile.unit * args.stripes * head_),
        next_unit_(kFew && (tile.unit + 1) * args.stripes < args.kv_heads ? unit_ + args.stripes * head_
                                                                          : unit_),
        // Products take whole vectors of columns.
        values_in_place_((kFew || !kBf16) && (kRows ? value_dim_ : width_) % kLanes == 0) {}

  // The block's entries [lo, hi) are wanted, and those of block `next` after them, a later block or else the
  // first one for the next unit, which few rows meet then. `first`: no block before.
  void begin(int64_t block, int64_t next, int64_t lo, int64_t hi, bool first) {
    k_ = (const char*)list_.k_blocks[block] + unit_;
    v_ = (const char*)list_.v_blocks[block] + unit_;
    next_k_ = (const char*)list_.k_blocks[next] + (next > block ? unit_ : next_unit_);
    lo_ = lo;
    hi_ = hi;
    if (kRows && first) prefetch<kBf16>({k_, entry_}, lo, hi, value_dim_);
  }

  // Columns are keys. Good until the next stripe is asked for.
  Operand keys(int64_t stripe) {
    const char* const of_head = k_ + stripe * head_;
    if (kRows) {
      pack_columns<kBf16>({of_head, entry_}, lo_, hi_, dim_, scratch_.k, {v_, entry_},
                          stripe == 0 ? value_dim_ : 0);
    } else if (kBf16 && !kFew) {
      widen_columns(of_head, lo_, hi_, dim_, scratch_.k);
    } else {
      const int64_t rows = dim_ * kElement / 4;
      return {of_head, kPanelKeys, kPanelKeys, kPanelKeys * rows, v_ + stripe * head_, rows};
    }
    return {scratch_.k, kKeyBlock};
  }

  // Columns are dimensions, rows are keys.
  Operand values() {
    if (values_in_place_) {
      if (!kRows) return {v_, width_, width_, kKeyBlock * width_, next_k_, kKeyBlock};
      prefetch<kBf16>({next_k_, entry_}, 0, kKeyBlock, value_dim_);
      return {v_, entry_};
    }
    if (kRows) {
      pack_entries<kBf16>({v_, entry_}, lo_, hi_, value_dim_, value_padded_, scratch_.v, {next_k_, entry_},
                          value_dim_);
    } else {
      pack_panels<kBf16>(v_, width_, lo_, hi_, value_dim_, value_padded_, scratch_.v);
    }
    return {scratch_.v, value_padded_};
  }

 private:
  const KeyList& list_;
  const AttentionFwdScratch& scratch_;
  int64_t dim_, value_dim_, value_padded_;
  int64_t entry_;                    // elements of an entry
  int64_t width_;                    // of a panel of values
  int64_t head_, unit_, next_unit_;  // bytes from one head to the next, to the unit and to the one after it
  bool values_in_place_;
  const char *k_ = nullptr, *v_ = nullptr, *next_k_ = nullptr;
  int64_t lo_ = 0, hi_ = 0;
};

}  // namespace

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
