#include "train/block_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>

#include "base/check.h"

namespace fathom::train {

// In front of an array.
struct alignas(BlockPool::kAlignment) BlockPool::Header {
  void* start = nullptr;  // of the allocation
  size_t bytes = 0;       // of the block; 0: from the heap
  uint64_t given = 0;     // when it was given back last
};

namespace {

constexpr size_t kMost = size_t{1} << 48;

// Sizes are rounded up by a sixteenth at most, so that sizes that differ little share blocks.
size_t rounded(size_t bytes) {
  const size_t grain = std::max<size_t>(size_t{64} << 10, std::bit_floor(bytes) / 16);
  return (bytes + grain - 1) / grain * grain;
}

}  // namespace

BlockPool::~BlockPool() {
  while (!free_.empty()) release(free_.begin());
}

void* BlockPool::take(size_t bytes) {
  if (bytes > kMost) throw std::bad_alloc();
  if (bytes < kLeast) {
    void* start = std::malloc(bytes + sizeof(Header) + kAlignment);
    if (start == nullptr) throw std::bad_alloc();
    const auto address = reinterpret_cast<uintptr_t>(start) + kAlignment - 1;
    auto* header = reinterpret_cast<Header*>(address - address % kAlignment);
    *header = {start, 0, 0};
    return header + 1;
  }
  const size_t block = rounded(bytes + sizeof(Header));
  const std::lock_guard lock(mutex_);
  Header* header = nullptr;
  if (const auto found = free_.lower_bound(block);
      found != free_.end() && found->first <= block + block / 8) {
    header = found->second;
    free_.erase(found);
  } else {
    make_room(block);
    void* start = ::mmap(nullptr, block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) throw std::bad_alloc();
    ::madvise(start, block, MADV_HUGEPAGE);
    header = static_cast<Header*>(start);
    *header = {start, block, 0};
    figures_.held += block;
  }
  figures_.in_use += header->bytes;
  figures_.most_in_use = std::max(figures_.most_in_use, figures_.in_use);
  return header + 1;
}

void BlockPool::give(void* array) {
  if (array == nullptr) return;
  Header* header = static_cast<Header*>(array) - 1;
  if (header->bytes == 0) {
    std::free(header->start);
    return;
  }
  const std::lock_guard lock(mutex_);
  FATHOM_CHECK(figures_.in_use >= header->bytes, "an array is given back twice");
  figures_.in_use -= header->bytes;
  header->given = ++given_;
  free_.emplace(header->bytes, header);
}

// Before a block of `bytes` is mapped: those that lie unused longest go, as far as the bound asks.
void BlockPool::make_room(size_t bytes) {
  const size_t most = std::max(figures_.most_in_use, figures_.in_use + bytes);
  while (figures_.held + bytes > most + most / 16 && !free_.empty()) {
    release(std::ranges::min_element(free_, {}, [](const auto& block) { return block.second->given; }));
  }
}

void BlockPool::release(std::multimap<size_t, Header*>::iterator block) {
  const size_t bytes = block->first;
  ::munmap(block->second->start, bytes);
  figures_.held -= bytes;
  free_.erase(block);
}

BlockPool::Figures BlockPool::figures() const {
  const std::lock_guard lock(mutex_);
  return figures_;
}

}  // namespace fathom::train
