#include "state/state_memory.h"

#include <algorithm>

#include "base/check.h"
#include "base/extents.h"

namespace fathom {

namespace {
constexpr int64_t kLine = 64;
}

struct PageRef::Page {
  StateMemory* memory = nullptr;
  AlignedBuffer own;  // empty: part of the memory's one piece
  uint8_t* data = nullptr;
  int64_t bytes = 0;
  int64_t holders = 0;
};

PageRef::PageRef(const PageRef& other) noexcept : page_(other.page_) {
  if (page_ != nullptr) ++page_->holders;
}
PageRef::~PageRef() {
  if (page_ != nullptr && --page_->holders == 0) page_->memory->give_back(page_);
}
uint8_t* PageRef::data() const { return page_->data; }
int64_t PageRef::bytes() const { return page_->bytes; }
bool PageRef::shared() const { return page_->holders > 1; }

StateMemory::StateMemory(int64_t budget) : budget_(budget) { FATHOM_CHECK(budget >= 0, "a negative budget"); }

std::shared_ptr<StateMemory> StateMemory::at_once(int64_t budget, int64_t pages) {
  auto memory = std::make_shared<StateMemory>(budget);
  memory->piece_ = AlignedBuffer(budget + pages * kLine);
  return memory;
}

StateMemory::~StateMemory() { FATHOM_CHECK(used_ == 0, "pages outlive their memory"); }

PageRef StateMemory::take(int64_t bytes) {
  if (bytes > room()) return {};
  std::unique_ptr<Page> page;
  if (auto spare = spare_.find(bytes); spare != spare_.end() && !spare->second.empty()) {
    page = std::move(spare->second.back());
    spare->second.pop_back();
    kept_ -= bytes;
  } else {
    page = std::make_unique<Page>();
    page->memory = this;
    page->bytes = bytes;
    if (piece_.bytes() > 0) {
      FATHOM_CHECK(cut_ + bytes <= piece_.bytes(), "more or other pages than were asked for at once");
      page->data = piece_.as() + cut_;
      cut_ += round_up(bytes, kLine);
    } else {
      make_room(bytes);
      page->own = AlignedBuffer(bytes);
      page->data = page->own.as();
    }
  }
  used_ += bytes;
  most_used_ = std::max(most_used_, used_);
  page->holders = 1;
  return PageRef(page.release());
}

void StateMemory::give_back(Page* page) {
  used_ -= page->bytes;
  kept_ += page->bytes;
  spare_[page->bytes].emplace_back(page);
}

void StateMemory::make_room(int64_t bytes) {
  for (auto& [size, pages] : spare_) {
    while (!pages.empty() && used_ + kept_ + bytes > budget_) {
      pages.pop_back();
      kept_ -= size;
    }
  }
}

}  // namespace fathom
