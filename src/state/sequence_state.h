// All that one sequence remembers: the run-time form of the plan's persistent slots, one per depth where the
// plan asks for it. A state has its memory by pages, all of them from the start or as the sequence grows.
// Copies, forks, saves and restores are exact.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/dtype.h"
#include "base/parallel.h"
#include "base/result.h"
#include "kernels/attention/attention.h"
#include "plan/model_plan.h"
#include "state/state_memory.h"

namespace fathom {

// Keys and values in blocks of kKeyBlock entries. A full cache has a block for every index; a ring (window >
// 0) has just enough for the window and one call's rows, block b of the list lying at b modulo the ring. A
// block's keys and its values are a page.
class KvState {
 public:
  // `capacity` entries in all; `max_rows` is the most that one call appends. Holds nothing yet.
  KvState(const Slot& slot, int64_t capacity, int64_t max_rows, DType type);

  KvState(KvState&&) = default;
  KvState& operator=(KvState&&) = default;

  // Takes the pages that `entries` entries need beside those it has. False: the memory has no room; it has
  // what it had.
  bool hold(int64_t entries, StateMemory& memory);
  bool holds(int64_t entries) const;

  int64_t length() const { return length_; }  // entries ever appended
  int64_t capacity() const { return capacity_; }
  DType type() const { return type_; }
  int64_t entry_elements() const { return heads_ * head_dim_; }  // of its keys, and of its values
  kernels::KeyList keys() const { return {k_table_.data(), v_table_.data()}; }
  kernels::KeyLayout layout() const { return layout_; }

  // Stores k and v, [rows, kv_heads * head_dim] each, at indices [length, length + rows), which it holds
  // pages for, rounded to the state's type.
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

  int64_t bytes() const { return static_cast<int64_t>(pages_.size()) * page_bytes(); }

 private:
  friend class SequenceState;
  int64_t page_bytes() const { return 2 * kernels::kKeyBlock * entry_elements() * size_of(type_); }
  int64_t pages_for(int64_t entries) const;
  void add_page(PageRef page);
  void drop_pages(size_t count);  // those behind the first `count`
  // The same once more: pages that are full for good are shared, others copied. None: no room.
  std::optional<KvState> fork(StateMemory& memory) const;
  KvState(const KvState&) = default;  // shares pages
  const kernels::KeyPlaces& places(bool value) const { return value ? v_places_ : k_places_; }
  uint8_t* block_of(int64_t index, bool value) const;
  // Calls visit(place, at, count) for each group of neighbouring elements of an entry: where they are, their
  // number in the entry, and how many they are.
  template <class Visit>
  void for_each_group(int64_t index, bool value, Visit visit) const;
  void put(int64_t index, const float* k, const float* v);

  int64_t heads_ = 0, head_dim_ = 0;
  kernels::KeyLayout layout_ = kernels::KeyLayout::kRows;
  kernels::KeyPlaces k_places_{}, v_places_{};
  int64_t window_ = 0;
  int64_t capacity_ = 0;
  int64_t ring_blocks_ = 0;
  int64_t length_ = 0;
  DType type_ = DType::kF32;
  std::vector<PageRef> pages_;
  std::vector<const void*> k_table_, v_table_;  // of every block, null where there is no page yet
};

// The last inputs of the convolutions and the recurrence's state of one layer, float.
class SsmState {
 public:
  explicit SsmState(const Slot& slot);  // holds nothing yet
  SsmState(SsmState&&) = default;
  SsmState& operator=(SsmState&&) = default;
  // Takes its page, zeros, if it has none. False: the memory has no room.
  bool hold(StateMemory& memory);
  float* conv() { return data(); }                         // [conv - 1, channels]
  float* ssm() { return data() + conv_elements_; }         // [inner, state]
  std::span<float> values() { return {data(), count()}; }  // both
  std::span<const float> values() const { return {data(), count()}; }
  int64_t bytes() const { return page_ ? page_.bytes() : 0; }

 private:
  friend class SequenceState;
  float* data() const;  // a page it has
  size_t count() const { return static_cast<size_t>(elements_); }
  int64_t page_bytes() const { return elements_ * static_cast<int64_t>(sizeof(float)); }
  void clear();
  std::optional<SsmState> fork(StateMemory& memory) const;
  SsmState(const SsmState&) = default;  // shares the page
  int64_t conv_elements_ = 0, elements_ = 0;
  PageRef page_;
};

// Bytes that a SequenceState made with these takes for `context` tokens: for a slot of keys one entry of each
// of `context` tokens at every depth, or as many as a ring needs for calls of `max_rows` rows, in whole
// blocks; for a recurrent one its state at every depth.
int64_t state_bytes(const ModelPlan& plan, int64_t context, int64_t max_rows, DType kv_type);

// Where a state stood. Its memory is used again when it is made anew.
class StateMark {
 public:
  // `memory` is what copies of recurrences come from; null: the state's own.
  explicit StateMark(std::shared_ptr<StateMemory> memory = nullptr) : memory_(std::move(memory)) {}

 private:
  friend class SequenceState;
  std::shared_ptr<StateMemory> memory_;  // before the pages, which go first
  int64_t position_ = 0;
  std::vector<int64_t> lengths_;      // of the lists of keys
  std::vector<PageRef> recurrences_;  // copies
};

class SequenceState {
 public:
  // `context` is the most tokens the sequence may have. Memory of its own, all of it from the start: bytes().
  SequenceState(const ModelPlan& plan, int64_t context, int64_t max_rows, DType kv_type);
  // Pages of a memory that others use as well, which come with reserve(). The memory outlives the state.
  SequenceState(const ModelPlan& plan, int64_t context, int64_t max_rows, DType kv_type,
                std::shared_ptr<StateMemory> memory);

  SequenceState(SequenceState&&) = default;
  SequenceState& operator=(SequenceState&&) = default;

  // Memory for the next `rows` tokens, at every depth. False: there is no room; nothing has changed. Without
  // it a call of that many rows fails a check.
  bool reserve(int64_t rows);
  // The same sequence once more, in the same memory: full pages are shared, the rest is copied. None: there
  // is no room.
  std::optional<SequenceState> fork() const;

  // Notes where the state stands. False: there is no room for copies of the recurrences, and the mark is of
  // no use.
  bool mark(StateMark& mark) const;
  // To a state that it was in between the mark and now, by calls that began at the mark: that after
  // `position` tokens if every list has an entry of every token since, and there are no recurrences; else
  // that of the mark.
  void go_back(const StateMark& mark, int64_t position);

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

  int64_t bytes() const;  // of the pages it has, shared ones included
  // Calls visit(where it lies, bytes) for each page it has.
  void for_each_page(FunctionRef<void(const uint8_t*, int64_t)> visit) const;

  // What a state is beside its pages.
  struct Outline {
    int64_t position = 0, first_position = 0;
    std::vector<int64_t> lengths;  // of the lists of keys
  };
  Outline outline() const;
  // Gives an empty state an outline, and the pages that go with it, with anything in them. False: no room.
  bool take_outline(const Outline& outline);
  // Calls visit(where it lies, bytes) for each page that holds something, in an order that follows from the
  // outline. Pages that are written to are nobody else's.
  void for_each_page_in_use(FunctionRef<void(const uint8_t*, int64_t)> visit) const;
  void for_each_page_in_use(FunctionRef<void(uint8_t*, int64_t)> visit);

  // Makes this state equal to `other`, which was made for the same plan, context, rows and type.
  void copy_from(const SequenceState& other);

 private:
  size_t index_of(SlotId slot, int32_t depth) const {
    return static_cast<size_t>(first_[static_cast<size_t>(slot)]) + static_cast<size_t>(depth);
  }

  // Without slots.
  SequenceState(int64_t context, std::shared_ptr<StateMemory> memory);
  int64_t context_;
  int64_t position_ = 0, first_position_ = 0;
  std::shared_ptr<StateMemory> memory_;  // before the pages, which go first
  // Index of a slot's first state in kv_ or ssm_, by slot id; -1 for slots that do not persist.
  std::vector<int32_t> first_;
  std::vector<KvState> kv_;
  // For each of kv_ the one whose entries it may come to have at once: depth 0 where deeper lists are filled
  // up from it (KvMode::kHybrid), else itself.
  std::vector<int32_t> filled_from_;
  std::vector<SsmState> ssm_;
};

}  // namespace fathom
