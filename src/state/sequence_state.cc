#include "state/sequence_state.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/extents.h"
#include "base/half.h"

namespace fathom {

using kernels::kKeyBlock;

namespace {

// A call's rows are stored before any of them is attended: the window of the first and the rows themselves
// must fit, wherever they start inside a block.
int64_t blocks_held(const Slot& slot, int64_t capacity, int64_t max_rows) {
  const int64_t blocks = ceil_div(capacity, kKeyBlock);
  return slot.window > 0 ? std::min(blocks, ceil_div(slot.window - 1 + max_rows, kKeyBlock) + 1) : blocks;
}

}  // namespace

int64_t state_bytes(const ModelPlan& plan, int64_t context, int64_t max_rows, DType kv_type) {
  int64_t total = 0;
  for (const Slot& slot : plan.slots) {
    if (slot.kind == SlotKind::kGmuMemory) continue;
    const int64_t one =
        slot.kind == SlotKind::kSsmState
            ? ((slot.conv - 1) * slot.channels + slot.inner * slot.state) * size_of(DType::kF32)
            : 2 * blocks_held(slot, context, max_rows) * kKeyBlock * slot.num_kv_heads * slot.head_dim *
                  size_of(kv_type);
    total += slot.copies * one;
  }
  return total;
}

KvState::KvState(const Slot& slot, int64_t capacity, int64_t max_rows, DType type)
    : heads_(slot.num_kv_heads),
      head_dim_(slot.head_dim),
      layout_(kernels::panel_layout(type, slot.head_dim)),
      k_places_(kernels::key_places(layout_, type, slot.num_kv_heads, slot.head_dim)),
      v_places_(kernels::value_places(layout_, slot.num_kv_heads, slot.head_dim)),
      window_(slot.window),
      capacity_(capacity),
      type_(type) {
  FATHOM_CHECK(type == DType::kF32 || type == DType::kBF16, "keys and values are f32 or bf16");
  const int64_t blocks = ceil_div(capacity, kKeyBlock);
  ring_blocks_ = blocks_held(slot, capacity, max_rows);
  const int64_t block_bytes = kKeyBlock * heads_ * head_dim_ * size_of(type);
  storage_ = AlignedBuffer(2 * ring_blocks_ * block_bytes);
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t* k = storage_.as() + (b % ring_blocks_) * block_bytes;
    k_table_.push_back(k);
    v_table_.push_back(k + ring_blocks_ * block_bytes);
  }
}

uint8_t* KvState::block_of(int64_t index, bool value) {
  const auto block = static_cast<size_t>(index / kKeyBlock);
  return const_cast<uint8_t*>(static_cast<const uint8_t*>(value ? v_table_[block] : k_table_[block]));
}

template <class Visit>
void KvState::for_each_group(int64_t index, bool value, Visit visit) {
  uint8_t* const block = block_of(index, value);
  const kernels::KeyPlaces& at = places(value);
  for (int64_t h = 0; h < heads_; ++h) {
    for (int64_t d = 0; d < head_dim_; d += at.dims) {
      visit(block + at.at(h, d, index % kKeyBlock) * size_of(type_), h * head_dim_ + d, at.dims);
    }
  }
}

namespace {

void store(const float* from, uint8_t* to, int64_t count, DType type) {
  if (type == DType::kF32) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  auto* out = reinterpret_cast<BFloat16*>(to);
  for (int64_t i = 0; i < count; ++i) out[i] = to_bfloat16(from[i]);
}

void load(const uint8_t* from, float* to, int64_t count, DType type) {
  if (type == DType::kF32) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  const auto* in = reinterpret_cast<const BFloat16*>(from);
  for (int64_t i = 0; i < count; ++i) to[i] = to_float(in[i]);
}

}  // namespace

void KvState::put(int64_t index, const float* k, const float* v) {
  for (const bool value : {false, true}) {
    const float* const from = value ? v : k;
    for_each_group(index, value,
                   [&](uint8_t* place, int64_t at, int64_t count) { store(from + at, place, count, type_); });
  }
}

void KvState::append(const float* k, const float* v, int64_t rows) {
  FATHOM_CHECK(length_ + rows <= capacity_,
               "the sequence is longer than its context of " + std::to_string(capacity_));
  const int64_t elements = heads_ * head_dim_;
  for (int64_t r = 0; r < rows; ++r) put(length_ + r, k + r * elements, v + r * elements);
  length_ += rows;
}

void KvState::append_missing(const KvState& other) {
  FATHOM_CHECK(ring_blocks_ == static_cast<int64_t>(k_table_.size()) &&
                   storage_.bytes() == other.storage_.bytes() && type_ == other.type_,
               "entries are copied between full caches of one shape");
  // Caches of one shape lay their entries out alike.
  for (int64_t i = length_; i < other.length_; ++i) {
    for (const bool value : {false, true}) {
      for_each_group(i, value, [&](uint8_t* to, int64_t, int64_t count) {
        std::memcpy(to, other.storage_.as() + (to - storage_.as()),
                    static_cast<size_t>(count * size_of(type_)));
      });
    }
  }
  length_ = std::max(length_, other.length_);
}

void KvState::replace(const float* k, const float* v, const int32_t* indices, int64_t rows) {
  const int64_t elements = heads_ * head_dim_;
  for (int64_t r = 0; r < rows; ++r) {
    FATHOM_CHECK(
        indices[r] >= 0 && indices[r] < length_ && ring_blocks_ == static_cast<int64_t>(k_table_.size()),
        "entry " + std::to_string(indices[r]) + " is not held");
    put(indices[r], k + r * elements, v + r * elements);
  }
}

void KvState::read(int64_t index, float* k, float* v) const {
  FATHOM_CHECK(index >= 0 && index < length_ && index / kKeyBlock + ring_blocks_ > (length_ - 1) / kKeyBlock,
               "entry " + std::to_string(index) + " is not held");
  auto& self = const_cast<KvState&>(*this);
  for (const bool value : {false, true}) {
    float* const to = value ? v : k;
    self.for_each_group(index, value, [&](const uint8_t* place, int64_t at, int64_t count) {
      load(place, to + at, count, type_);
    });
  }
}

int64_t KvState::needed(int64_t length) const { return window_ > 0 ? std::min(length, window_ - 1) : length; }

std::vector<uint8_t> KvState::saved(bool value) const {
  const int64_t bytes = heads_ * head_dim_ * size_of(type_), held = needed(length_);
  std::vector<uint8_t> out(static_cast<size_t>(held * bytes));
  auto& self = const_cast<KvState&>(*this);
  for (int64_t i = 0; i < held; ++i) {
    uint8_t* const to = out.data() + i * bytes;
    self.for_each_group(length_ - held + i, value, [&](const uint8_t* place, int64_t at, int64_t count) {
      std::memcpy(to + at * size_of(type_), place, static_cast<size_t>(count * size_of(type_)));
    });
  }
  return out;
}

void KvState::restore(int64_t length, const uint8_t* k, const uint8_t* v) {
  FATHOM_CHECK(length <= capacity_,
               "the sequence is longer than its context of " + std::to_string(capacity_));
  const int64_t bytes = heads_ * head_dim_ * size_of(type_), held = needed(length);
  for (int64_t i = 0; i < held; ++i) {
    for (const bool value : {false, true}) {
      const uint8_t* const from = (value ? v : k) + i * bytes;
      for_each_group(length - held + i, value, [&](uint8_t* place, int64_t at, int64_t count) {
        std::memcpy(place, from + at * size_of(type_), static_cast<size_t>(count * size_of(type_)));
      });
    }
  }
  length_ = length;
}

SsmState::SsmState(const Slot& slot)
    : conv_elements_((slot.conv - 1) * slot.channels),
      storage_((conv_elements_ + slot.inner * slot.state) * static_cast<int64_t>(sizeof(float))) {}

SequenceState::SequenceState(const ModelPlan& plan, int64_t context, int64_t max_rows, DType kv_type)
    : context_(context) {
  for (const Slot& slot : plan.slots) {
    switch (slot.kind) {
      case SlotKind::kKv:
      case SlotKind::kWindowKv:
        first_.push_back(static_cast<int32_t>(kv_.size()));
        for (int32_t c = 0; c < slot.copies; ++c) kv_.emplace_back(slot, context, max_rows, kv_type);
        break;
      case SlotKind::kSsmState:
        first_.push_back(static_cast<int32_t>(ssm_.size()));
        for (int32_t c = 0; c < slot.copies; ++c) ssm_.emplace_back(slot);
        break;
      case SlotKind::kGmuMemory:
        first_.push_back(-1);
        break;
    }
  }
  reset();
}

void SequenceState::begin_at(int64_t position) {
  FATHOM_CHECK(
      position_ == 0 && position >= 0 && position < context_,
      "a sequence of " + std::to_string(position_) + " tokens beginning at " + std::to_string(position));
  first_position_ = position;
}

void SequenceState::reset() {
  position_ = first_position_ = 0;
  for (KvState& state : kv_) state.length_ = 0;
  for (SsmState& state : ssm_)
    std::memset(state.storage_.as(), 0, static_cast<size_t>(state.storage_.bytes()));
}

KvState& SequenceState::kv(SlotId slot, int32_t depth) { return kv_[index_of(slot, depth)]; }
const KvState& SequenceState::kv(SlotId slot, int32_t depth) const { return kv_[index_of(slot, depth)]; }
SsmState& SequenceState::ssm(SlotId slot, int32_t depth) { return ssm_[index_of(slot, depth)]; }
const SsmState& SequenceState::ssm(SlotId slot, int32_t depth) const { return ssm_[index_of(slot, depth)]; }

int64_t SequenceState::bytes() const {
  int64_t total = 0;
  for (const KvState& state : kv_) total += state.bytes();
  for (const SsmState& state : ssm_) total += state.bytes();
  return total;
}

void SequenceState::copy_from(const SequenceState& other) {
  FATHOM_CHECK(
      kv_.size() == other.kv_.size() && ssm_.size() == other.ssm_.size() && context_ == other.context_,
      "states of different plans");
  position_ = other.position_;
  first_position_ = other.first_position_;
  for (size_t i = 0; i < kv_.size(); ++i) {
    FATHOM_CHECK(kv_[i].bytes() == other.kv_[i].bytes(), "states of different shapes");
    kv_[i].length_ = other.kv_[i].length_;
    // Only blocks that hold entries: what lies behind was never written.
    const int64_t blocks = std::min(kv_[i].ring_blocks_, ceil_div(kv_[i].length_, kKeyBlock));
    const int64_t half = kv_[i].bytes() / 2;
    const int64_t used = kv_[i].ring_blocks_ > 0 ? half / kv_[i].ring_blocks_ * blocks : 0;
    std::memcpy(kv_[i].storage_.as(), other.kv_[i].storage_.as(), static_cast<size_t>(used));
    std::memcpy(kv_[i].storage_.as() + half, other.kv_[i].storage_.as() + half, static_cast<size_t>(used));
  }
  for (size_t i = 0; i < ssm_.size(); ++i) {
    std::memcpy(ssm_[i].storage_.as(), other.ssm_[i].storage_.as(),
                static_cast<size_t>(ssm_[i].storage_.bytes()));
  }
}

}  // namespace fathom
