// All that one sequence remembers: the run-time form of the plan's persistent slots, one per depth where the
// plan asks for it. A state is made for a context length; it never allocates afterwards. Copies, saves and
// restores are exact.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/dtype.h"
#include "base/result.h"
#include "kernels/attention/attention.h"
#include "plan/model_plan.h"

namespace fathom {

// Keys and values in blocks of kKeyBlock entries. A full cache has a block for every index; a ring (window >
// 0) has just enough for the window and one call's rows, block b of the list lying at b modulo the ring.
class KvState {
 public:
  // `capacity` entries in all; `max_rows` is the most that one call appends.
  KvState(const Slot& slot, int64_t capacity, int64_t max_rows, DType type);

  int64_t length() const { return length_; }  // entries ever appended
  int64_t capacity() const { return capacity_; }
  DType type() const { return type_; }
  int64_t entry_elements() const { return heads_ * head_dim_; }  // of its keys, and of its values
  kernels::KeyList keys() const { return {k_table_.data(), v_table_.data()}; }
  kernels::KeyLayout layout() const { return layout_; }

  // Stores k and v, [rows, kv_heads * head_dim] each, at indices [length, length + rows), rounded to the
  // state's type.
  void append(const float* k, const float* v, int64_t rows);
  // Appends the entries that `other`, a full cache of the same shape and type, has beyond this one's length.
  void append_missing(const KvState& other);
  // Stores k and v in place of entries that are there, rows at `indices`, in a full cache.
  void replace(const float* k, const float* v, const int32_t* indices, int64_t rows);
  // One entry as floats, [kv_heads * head_dim] each; it must still be held. For verification and tests.
  void read(int64_t index, float* k, float* v) const;

  // How many of `length` entries later rows can see: the last window - 1 of a ring, else all.
  int64_t needed(int64_t length) const;
  // Those, keys or values, [needed(length()), kv_heads * head_dim] of type(), bit by bit as they are stored.
  std::vector<uint8_t> saved(bool value) const;
  // Makes this the state that saved them, after `length` entries.
  void restore(int64_t length, const uint8_t* k, const uint8_t* v);

  int64_t bytes() const { return storage_.bytes(); }

 private:
  friend class SequenceState;
  const kernels::KeyPlaces& places(bool value) const { return value ? v_places_ : k_places_; }
  uint8_t* block_of(int64_t index, bool value);
  // Calls visit(place, at, count) for each group of neighbouring elements of an entry: where they are, their
  // number in the entry, and how many they are.
  template <class Visit>
  void for_each_group(int64_t index, bool value, Visit visit);
  void put(int64_t index, const float* k, const float* v);

  int64_t heads_ = 0, head_dim_ = 0;
  kernels::KeyLayout layout_ = kernels::KeyLayout::kRows;
  kernels::KeyPlaces k_places_{}, v_places_{};
  int64_t window_ = 0;
  int64_t capacity_ = 0;
  int64_t ring_blocks_ = 0;
  int64_t length_ = 0;
  DType type_ = DType::kF32;
  AlignedBuffer storage_;
  std::vector<const void*> k_table_, v_table_;
};

// The last inputs of the convolutions and the recurrence's state of one layer, float.
class SsmState {
 public:
  explicit SsmState(const Slot& slot);
  float* conv() { return storage_.as<float>(); }                         // [conv - 1, channels]
  float* ssm() { return storage_.as<float>() + conv_elements_; }         // [inner, state]
  std::span<float> values() { return {storage_.as<float>(), count()}; }  // both
  std::span<const float> values() const { return {storage_.as<float>(), count()}; }
  int64_t bytes() const { return storage_.bytes(); }

 private:
  friend class SequenceState;
  size_t count() const { return static_cast<size_t>(storage_.bytes()) / sizeof(float); }
  int64_t conv_elements_ = 0;
  AlignedBuffer storage_;
};

// Bytes that a SequenceState made with these takes: for a slot of keys one entry of each of `context` tokens
// at every depth, or as many as a ring needs for calls of `max_rows` rows, in whole blocks; for a recurrent
// one its state at every depth.
int64_t state_bytes(const ModelPlan& plan, int64_t context, int64_t max_rows, DType kv_type);

class SequenceState {
 public:
  // Memory is bytes(), all of it from the start; `context` is the most tokens the sequence may have.
  SequenceState(const ModelPlan& plan, int64_t context, int64_t max_rows, DType kv_type);

  int64_t position() const { return position_; }  // tokens consumed
  int64_t context() const { return context_; }
  void advance(int64_t rows) { position_ += rows; }
  // Rotary positions of the sequence count from here: it is a segment of a longer row. 0 unless begin_at()
  // says otherwise, while the sequence is empty.
  int64_t first_position() const { return first_position_; }
  void begin_at(int64_t position);
  void reset();  // to the empty sequence

  KvState& kv(SlotId slot, int32_t depth);
  const KvState& kv(SlotId slot, int32_t depth) const;
  SsmState& ssm(SlotId slot, int32_t depth);
  const SsmState& ssm(SlotId slot, int32_t depth) const;

  int64_t bytes() const;

  // Makes this state equal to `other`, which was made for the same plan, context, rows and type.
  void copy_from(const SequenceState& other);

 private:
  size_t index_of(SlotId slot, int32_t depth) const {
    return static_cast<size_t>(first_[static_cast<size_t>(slot)]) + static_cast<size_t>(depth);
  }

  int64_t context_;
  int64_t position_ = 0, first_position_ = 0;
  // Index of a slot's first state in kv_ or ssm_, by slot id; -1 for slots that do not persist.
  std::vector<int32_t> first_;
  std::vector<KvState> kv_;
  std::vector<SsmState> ssm_;
};

}  // namespace fathom
