// Memory for arrays of megabytes that come and go in every training step. Pages that were given back serve
// the next array of about that size, zeroed by nobody: asking the system anew costs a fifth of a step. A
// general heap reuses pages too, but splits them until half of its memory is holes; here the pages held
// exceed what was in use at any one time by a sixteenth at most.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

namespace fathom::train {

class BlockPool {
 public:
  // Arrays below this many bytes come from the heap.
  static constexpr size_t kLeast = size_t{1} << 20;
  static constexpr size_t kAlignment = 64;

  BlockPool() = default;
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  // Every array was given back.
  ~BlockPool();

  // Any contents. Throws std::bad_alloc. Thread-safe, as give() is.
  void* take(size_t bytes);
  // What take() returned, or null.
  void give(void* array);

  // Bytes of whole blocks, headers and rounding included; the heap's arrays are not counted.
  struct Figures {
    size_t in_use = 0, most_in_use = 0, held = 0;
  };
  Figures figures() const;

 private:
  struct Header;
  void release(std::multimap<size_t, Header*>::iterator block);
  void make_room(size_t bytes);

  mutable std::mutex mutex_;
  std::multimap<size_t, Header*> free_;  // by bytes
  Figures figures_;
  uint64_t given_ = 0;  // times that a block was given back
};

}  // namespace fathom::train
