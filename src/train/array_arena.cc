#include "train/array_arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "base/check.h"

namespace fathom::train {

namespace {

constexpr size_t kOpenStep = size_t{64} << 20;

size_t round_up_to(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

size_t machine_memory() {
  const auto pages = static_cast<size_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES)));
  return std::max(pages * static_cast<size_t>(::sysconf(_SC_PAGESIZE)), size_t{1} << 30);
}

}  // namespace

ArrayArena::ArrayArena() {
  void* mapping = MAP_FAILED;
  // A limit on addresses (ulimit -v) may allow less.
  for (size_t bytes = 4 * machine_memory(); mapping == MAP_FAILED && bytes >= kOpenStep; bytes /= 2) {
    reserved_ = round_up_to(bytes, kPage);
    mapping =
        ::mmap(nullptr, reserved_ + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  // What lies before and behind whole pages goes back.
  const size_t skip = (kPage - reinterpret_cast<uintptr_t>(mapping) % kPage) % kPage;
  base_ = static_cast<char*>(mapping) + skip;
  if (skip > 0) ::munmap(mapping, skip);
  ::munmap(base_ + reserved_, kPage - skip);
  ::madvise(base_, reserved_, MADV_HUGEPAGE);  // refused: small pages serve as well
}

ArrayArena::~ArrayArena() { ::munmap(base_, reserved_); }

void* ArrayArena::take(size_t bytes) {
  if (bytes < kLeast) {
    void* array = std::aligned_alloc(kAlignment, round_up_to(std::max<size_t>(bytes, 1), kAlignment));
    if (array == nullptr) throw std::bad_alloc();
    return array;
  }
  if (bytes > reserved_) throw std::bad_alloc();
  const size_t rounded = round_up_to(bytes, kAlignment);
  const std::lock_guard lock(mutex_);
  const size_t begin = place(rounded);
  taken_.emplace(begin, rounded);
  figures_.in_use += rounded;
  figures_.most_in_use = std::max(figures_.most_in_use, figures_.in_use);
  touch(begin, begin + rounded);
  drop_unused_pages(figures_.most_in_use + figures_.most_in_use / 16);
  return base_ + begin;
}

// The lowest gap that is wide enough: what a step takes first it gives back last, so the top stays free.
size_t ArrayArena::place(size_t bytes) {
  const auto gap =
      std::ranges::find_if(gaps_, [&](const auto& range) { return range.second - range.first >= bytes; });
  if (gap != gaps_.end()) {
    const auto [begin, end] = *gap;
    gaps_.erase(gap);
    if (end - begin > bytes) gaps_.emplace(begin + bytes, end);
    return begin;
  }
  if (bytes > reserved_ - top_) throw std::bad_alloc();
  const size_t begin = top_, end = top_ + bytes;
  if (end > opened_) {
    const size_t opened = std::min(reserved_, round_up_to(end, kOpenStep));
    if (::mprotect(base_ + opened_, opened - opened_, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    opened_ = opened;
  }
  top_ = end;
  return begin;
}

void ArrayArena::touch(size_t begin, size_t end) {
  const size_t pages = round_up_to(end, kPage) / kPage;
  if (pages > resident_.size()) resident_.resize(pages, false);
  for (size_t page = begin / kPage; page < pages; ++page) {
    if (!resident_[page]) figures_.held += kPage;
    resident_[page] = true;
  }
}

// Pages that no array lies in, from the top down, as far as the bound asks.
void ArrayArena::drop_unused_pages(size_t bound) {
  if (figures_.held <= bound) return;
  const auto drop = [&](size_t begin, size_t end) {
    for (size_t page = end / kPage; page > round_up_to(begin, kPage) / kPage && figures_.held > bound;) {
      --page;
      if (!resident_[page]) continue;
      ::madvise(base_ + page * kPage, kPage, MADV_DONTNEED);
      resident_[page] = false;
      figures_.held -= kPage;
    }
  };
  drop(top_, resident_.size() * kPage);
  for (auto gap = gaps_.rbegin(); gap != gaps_.rend() && figures_.held > bound; ++gap) {
    drop(gap->first, gap->second);
  }
}

void ArrayArena::give(void* array) {
  if (array == nullptr) return;
  const auto address = reinterpret_cast<uintptr_t>(array), base = reinterpret_cast<uintptr_t>(base_);
  if (address < base || address >= base + reserved_) {
    std::free(array);
    return;
  }
  const std::lock_guard lock(mutex_);
  const auto found = taken_.find(address - base);
  FATHOM_CHECK(found != taken_.end(), "an array is given back that was not taken");
  size_t begin = found->first, end = begin + found->second;
  figures_.in_use -= found->second;
  taken_.erase(found);
  const auto after = gaps_.upper_bound(begin);
  if (after != gaps_.begin() && std::prev(after)->second == begin) {
    begin = std::prev(after)->first;
    gaps_.erase(std::prev(after));
  }
  if (after != gaps_.end() && after->first == end) {
    end = after->second;
    gaps_.erase(after);
  }
  if (end == top_) {
    top_ = begin;
  } else {
    gaps_.emplace(begin, end);
  }
}

ArrayArena::Figures ArrayArena::figures() const {
  const std::lock_guard lock(mutex_);
  return figures_;
}

}  // namespace fathom::train
