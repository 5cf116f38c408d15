// Where the states of sequences have their memory from: pages within a budget. A page may belong to several
// states, which then only read it. Used by one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"

namespace fathom {

class StateMemory;

// A page, aligned to a cache line. Copies share it; the last one gives it back.
class PageRef {
 public:
  PageRef() = default;
  PageRef(const PageRef& other) noexcept;
  PageRef(PageRef&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  PageRef& operator=(PageRef other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~PageRef();

  explicit operator bool() const { return page_ != nullptr; }
  uint8_t* data() const;
  int64_t bytes() const;
  bool shared() const;  // by another PageRef

 private:
  friend class StateMemory;
  struct Page;
  explicit PageRef(Page* page) : page_(page) {}
  Page* page_ = nullptr;
};

class StateMemory {
 public:
  // Pages come from the system one by one, and what is given back is kept for the next of its size while the
  // budget allows.
  explicit StateMemory(int64_t budget);
  // All memory from the start, in one piece: `pages` pages of `budget` bytes in all.
  static std::shared_ptr<StateMemory> at_once(int64_t budget, int64_t pages);
  StateMemory(const StateMemory&) = delete;
  StateMemory& operator=(const StateMemory&) = delete;
  ~StateMemory();  // every page has been given back

  // Not initialised. Empty: the budget has no room for it.
  PageRef take(int64_t bytes);

  int64_t budget() const { return budget_; }
  int64_t used() const { return used_; }  // bytes of pages that somebody has
  int64_t room() const { return budget_ - used_; }
  int64_t most_used() const { return most_used_; }

 private:
  friend class PageRef;
  using Page = PageRef::Page;
  void give_back(Page* page);
  // Lets go of pages that nobody has until `bytes` more fit beside the others.
  void make_room(int64_t bytes);

  int64_t budget_, used_ = 0, most_used_ = 0;
  int64_t kept_ = 0;                                             // bytes of pages that nobody has
  std::map<int64_t, std::vector<std::unique_ptr<Page>>> spare_;  // those, by size
  AlignedBuffer piece_;                                          // of at_once()
  int64_t cut_ = 0;                                              // bytes of it that have been handed out
};

}  // namespace fathom
