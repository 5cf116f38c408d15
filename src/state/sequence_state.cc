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
  const auto blocks = static_cast<size_t>(ceil_div(capacity, kKeyBlock));
  ring_blocks_ = blocks_held(slot, capacity, max_rows);
  k_table_.resize(blocks);
  v_table_.resize(blocks);
}

int64_t KvState::pages_for(int64_t entries) const {
  return std::min(ring_blocks_, ceil_div(entries, kKeyBlock));
}

void KvState::add_page(PageRef page) {
  for (size_t block = pages_.size(); block < k_table_.size(); block += static_cast<size_t>(ring_blocks_)) {
    k_table_[block] = page.data();
    v_table_[block] = page.data() + page_bytes() / 2;
  }
  pages_.push_back(std::move(page));
}

void KvState::drop_pages(size_t count) {
  for (; pages_.size() > count; pages_.pop_back()) {
    for (size_t b = pages_.size() - 1; b < k_table_.size(); b += static_cast<size_t>(ring_blocks_))
      k_table_[b] = v_table_[b] = nullptr;
  }
}

bool KvState::holds(int64_t entries) const {
  return pages_.size() >= static_cast<size_t>(pages_for(std::min(entries, capacity_)));
}

bool KvState::hold(int64_t entries, StateMemory& memory) {
  const size_t before = pages_.size();
  while (!holds(entries)) {
    PageRef page = memory.take(page_bytes());
    if (!page) {
      drop_pages(before);
      return false;
    }
    add_page(std::move(page));
  }
  return true;
}

std::optional<KvState> KvState::fork(StateMemory& memory) const {
  KvState twin(*this);
  const bool is_ring = window_ > 0;
  const auto shared = is_ring ? 0 : static_cast<size_t>(length_ / kKeyBlock);
  const auto held = static_cast<size_t>(pages_for(length_));
  twin.drop_pages(shared);
  for (size_t p = shared; p < held; ++p) {
    PageRef page = memory.take(page_bytes());
    if (!page) return {};
    std::memcpy(page.data(), pages_[p].data(), static_cast<size_t>(page_bytes()));
    twin.add_page(std::move(page));
  }
  return twin;
}

uint8_t* KvState::block_of(int64_t index, bool value) const {
  const auto block = static_cast<size_t>(index / kKeyBlock);
  return const_cast<uint8_t*>(static_cast<const uint8_t*>(value ? v_table_[block] : k_table_[block]));
}

template <class Visit>
void KvState::for_each_group(int64_t index, bool value, Visit visit) const {
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
  const auto block = static_cast<size_t>(index / kKeyBlock);
  FATHOM_CHECK(k_table_[block] != nullptr && !pages_[block % static_cast<size_t>(ring_blocks_)].shared(),
               "entry " + std::to_string(index) + " has no page of its own");
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
  FATHOM_CHECK(
      window_ == 0 && other.window_ == 0 && page_bytes() == other.page_bytes() && type_ == other.type_,
      "entries are copied between full caches of one shape");
  FATHOM_CHECK(holds(other.length_), "entries without pages");
  // Caches of one shape lay their entries out alike.
  for (int64_t i = length_; i < other.length_; ++i) {
    for (const bool value : {false, true}) {
      const uint8_t *from = other.block_of(i, value), *here = block_of(i, value);
      for_each_group(i, value, [&](uint8_t* to, int64_t, int64_t count) {
        std::memcpy(to, from + (to - here), static_cast<size_t>(count * size_of(type_)));
      });
    }
  }
  length_ = std::max(length_, other.length_);
}

void KvState::replace(const float* k, const float* v, const int32_t* indices, int64_t rows) {
  const int64_t elements = heads_ * head_dim_;
  for (int64_t r = 0; r < rows; ++r) {
    FATHOM_CHECK(indices[r] >= 0 && indices[r] < length_ && window_ == 0,
                 "entry " + std::to_string(indices[r]) + " is not held");
    put(indices[r], k + r * elements, v + r * elements);
  }
}

void KvState::read(int64_t index, float* k, float* v) const {
  FATHOM_CHECK(index >= 0 && index < length_ && index / kKeyBlock + ring_blocks_ > (length_ - 1) / kKeyBlock,
               "entry " + std::to_string(index) + " is not held");
  for (const bool value : {false, true}) {
    float* const to = value ? v : k;
    for_each_group(index, value, [&](const uint8_t* place, int64_t at, int64_t count) {
      load(place, to + at, count, type_);
    });
  }
}

int64_t KvState::needed(int64_t length) const { return window_ > 0 ? std::min(length, window_ - 1) : length; }

std::vector<uint8_t> KvState::saved(bool value) const {
  const int64_t bytes = heads_ * head_dim_ * size_of(type_), held = needed(length_);
  std::vector<uint8_t> out(static_cast<size_t>(held * bytes));
  for (int64_t i = 0; i < held; ++i) {
    uint8_t* const to = out.data() + i * bytes;
    for_each_group(length_ - held + i, value, [&](const uint8_t* place, int64_t at, int64_t count) {
      std::memcpy(to + at * size_of(type_), place, static_cast<size_t>(count * size_of(type_)));
    });
  }
  return out;
}

void KvState::restore(int64_t length, const uint8_t* k, const uint8_t* v) {
  FATHOM_CHECK(length <= capacity_,
               "the sequence is longer than its context of " + std::to_string(capacity_));
  FATHOM_CHECK(holds(length), "entries without pages");
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
    : conv_elements_((slot.conv - 1) * slot.channels), elements_(conv_elements_ + slot.inner * slot.state) {}

bool SsmState::hold(StateMemory& memory) {
  if (page_) return true;
  page_ = memory.take(page_bytes());
  if (page_) clear();
  return static_cast<bool>(page_);
}

float* SsmState::data() const {
  FATHOM_CHECK(static_cast<bool>(page_), "a recurrent state without memory: reserve() comes first");
  return reinterpret_cast<float*>(page_.data());
}

void SsmState::clear() {
  if (page_) std::memset(page_.data(), 0, static_cast<size_t>(page_.bytes()));
}

std::optional<SsmState> SsmState::fork(StateMemory& memory) const {
  SsmState twin(*this);
  if (!page_) return twin;
  twin.page_ = memory.take(page_bytes());
  if (!twin.page_) return {};
  std::memcpy(twin.page_.data(), page_.data(), static_cast<size_t>(page_bytes()));
  return twin;
}

SequenceState::SequenceState(int64_t context, std::shared_ptr<StateMemory> memory)
    : context_(context), memory_(std::move(memory)) {}

SequenceState::SequenceState(const ModelPlan& plan, int64_t context, int64_t max_rows, DType kv_type,
                             std::shared_ptr<StateMemory> memory)
    : SequenceState(context, std::move(memory)) {
  for (const Slot& slot : plan.slots) {
    switch (slot.kind) {
      case SlotKind::kKv:
      case SlotKind::kWindowKv:
        first_.push_back(static_cast<int32_t>(kv_.size()));
        for (int32_t c = 0; c < slot.copies; ++c) {
          filled_from_.push_back(static_cast<int32_t>(kv_.size()));
          kv_.emplace_back(slot, context, max_rows, kv_type);
        }
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
  for (const Segment& segment : plan.segments) {
    if (segment.kv != KvMode::kHybrid) continue;
    for (const Layer& layer : segment.layers) {
      for (const SlotId id : layer.writes) {
        const Slot& slot = plan.slots[static_cast<size_t>(id)];
        if (slot.kind != SlotKind::kKv && slot.kind != SlotKind::kWindowKv) continue;
        for (int32_t c = 0; c < slot.copies; ++c)
          filled_from_[index_of(id, c)] = first_[static_cast<size_t>(id)];
      }
    }
  }
}

SequenceState::SequenceState(const ModelPlan& plan, int64_t context, int64_t max_rows, DType kv_type)
    : SequenceState(plan, context, max_rows, kv_type, nullptr) {
  int64_t pages = static_cast<int64_t>(ssm_.size());
  for (const KvState& state : kv_) pages += state.pages_for(context);
  memory_ = StateMemory::at_once(state_bytes(plan, context, max_rows, kv_type), pages);
  FATHOM_CHECK(reserve(context), "a state's own memory has room for all of it");
}

bool SequenceState::reserve(int64_t rows) {
  const auto entries = [&](size_t i) {
    return std::max(kv_[i].length_, kv_[static_cast<size_t>(filled_from_[i])].length_) + rows;
  };
  std::vector<std::pair<size_t, size_t>> had;  // of those that grow, how many pages before
  const auto give_up = [&] {
    for (const auto& [i, pages] : had) kv_[i].drop_pages(pages);
    return false;
  };
  for (size_t i = 0; i < kv_.size(); ++i) {
    if (kv_[i].holds(entries(i))) continue;
    had.emplace_back(i, kv_[i].pages_.size());
    if (!kv_[i].hold(entries(i), *memory_)) return give_up();
  }
  // All or none of these have their page.
  for (size_t i = 0; i < ssm_.size(); ++i) {
    if (ssm_[i].hold(*memory_)) continue;
    for (size_t taken = 0; taken < i; ++taken) ssm_[taken].page_ = {};
    return give_up();
  }
  return true;
}

std::optional<SequenceState> SequenceState::fork() const {
  SequenceState twin(context_, memory_);
  twin.position_ = position_;
  twin.first_position_ = first_position_;
  twin.first_ = first_;
  twin.filled_from_ = filled_from_;
  for (const KvState& state : kv_) {
    std::optional<KvState> kv = state.fork(*memory_);
    if (!kv) return {};
    twin.kv_.push_back(std::move(*kv));
  }
  for (const SsmState& state : ssm_) {
    std::optional<SsmState> ssm = state.fork(*memory_);
    if (!ssm) return {};
    twin.ssm_.push_back(std::move(*ssm));
  }
  return twin;
}

bool SequenceState::mark(StateMark& mark) const {
  mark.position_ = position_;
  mark.lengths_.clear();
  for (const KvState& state : kv_) mark.lengths_.push_back(state.length_);
  mark.recurrences_.resize(ssm_.size());
  StateMemory& memory = mark.memory_ ? *mark.memory_ : *memory_;
  for (size_t i = 0; i < ssm_.size(); ++i) {
    PageRef& copy = mark.recurrences_[i];
    if (!copy) copy = memory.take(ssm_[i].page_bytes());
    if (!copy) return false;
    std::memcpy(copy.data(), ssm_[i].data(), static_cast<size_t>(ssm_[i].page_bytes()));
  }
  return true;
}

void SequenceState::go_back(const StateMark& mark, int64_t position) {
  FATHOM_CHECK(mark.position_ <= position && position <= position_ && mark.lengths_.size() == kv_.size(),
               "from " + std::to_string(position_) + " tokens back to " + std::to_string(position) +
                   " by a mark at " + std::to_string(mark.position_));
  if (position == position_) return;
  // What was appended since is still there, and so is what came before: a ring has room for a call's rows.
  bool all_have_all = ssm_.empty();
  for (size_t i = 0; i < kv_.size(); ++i)
    all_have_all &= kv_[i].length_ - mark.lengths_[i] == position_ - mark.position_;
  const int64_t kept = all_have_all ? position - mark.position_ : 0;
  for (size_t i = 0; i < kv_.size(); ++i) kv_[i].length_ = mark.lengths_[i] + kept;
  for (size_t i = 0; i < ssm_.size(); ++i)
    std::memcpy(ssm_[i].data(), mark.recurrences_[i].data(), static_cast<size_t>(ssm_[i].page_bytes()));
  position_ = mark.position_ + kept;
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
  for (SsmState& state : ssm_) state.clear();
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

void SequenceState::for_each_page(FunctionRef<void(const uint8_t*, int64_t)> visit) const {
  for (const KvState& state : kv_) {
    for (const PageRef& page : state.pages_) visit(page.data(), page.bytes());
  }
  for (const SsmState& state : ssm_) {
    if (state.page_) visit(state.page_.data(), state.page_.bytes());
  }
}

SequenceState::Outline SequenceState::outline() const {
  Outline outline{position_, first_position_, {}};
  for (const KvState& state : kv_) outline.lengths.push_back(state.length_);
  return outline;
}

bool SequenceState::take_outline(const Outline& outline) {
  FATHOM_CHECK(position_ == 0 && outline.lengths.size() == kv_.size(), "an outline of another state");
  for (size_t i = 0; i < kv_.size(); ++i) {
    if (!kv_[i].hold(outline.lengths[i], *memory_)) return false;
    kv_[i].length_ = outline.lengths[i];
  }
  position_ = outline.position;
  first_position_ = outline.first_position;
  return std::ranges::all_of(ssm_, [&](SsmState& state) { return state.hold(*memory_); });
}

void SequenceState::for_each_page_in_use(FunctionRef<void(const uint8_t*, int64_t)> visit) const {
  for (const KvState& state : kv_) {
    const auto pages = static_cast<size_t>(state.pages_for(state.length_));
    for (const PageRef& page : std::span(state.pages_).first(pages)) visit(page.data(), page.bytes());
  }
  for (const SsmState& state : ssm_) {
    if (state.page_) visit(state.page_.data(), state.page_.bytes());
  }
}

void SequenceState::for_each_page_in_use(FunctionRef<void(uint8_t*, int64_t)> visit) {
  std::as_const(*this).for_each_page_in_use([&](const uint8_t* page, int64_t bytes) {
    visit(const_cast<uint8_t*>(page), bytes);  // the state is not const
  });
}

void SequenceState::copy_from(const SequenceState& other) {
  FATHOM_CHECK(
      kv_.size() == other.kv_.size() && ssm_.size() == other.ssm_.size() && context_ == other.context_,
      "states of different plans");
  position_ = other.position_;
  first_position_ = other.first_position_;
  for (size_t i = 0; i < kv_.size(); ++i) {
    KvState& to = kv_[i];
    const KvState& from = other.kv_[i];
    FATHOM_CHECK(to.page_bytes() == from.page_bytes() && to.ring_blocks_ == from.ring_blocks_,
                 "states of different shapes");
    FATHOM_CHECK(to.hold(from.length_, *memory_), "a copy without memory for it");
    to.length_ = from.length_;
    // Only pages that hold entries: what lies behind was never written.
    for (size_t p = 0; p < static_cast<size_t>(from.pages_for(from.length_)); ++p) {
      FATHOM_CHECK(!to.pages_[p].shared(), "a copy into pages that others read");
      std::memcpy(to.pages_[p].data(), from.pages_[p].data(), static_cast<size_t>(from.page_bytes()));
    }
  }
  for (size_t i = 0; i < ssm_.size(); ++i) {
    if (!other.ssm_[i].page_) {
      ssm_[i].clear();
      continue;
    }
    FATHOM_CHECK(ssm_[i].hold(*memory_), "a copy without memory for it");
    std::memcpy(ssm_[i].page_.data(), other.ssm_[i].page_.data(), static_cast<size_t>(ssm_[i].page_bytes()));
  }
}

}  // namespace fathom
