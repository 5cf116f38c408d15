// Memory for the large arrays that come and go in every training step, in one range of addresses. Pages that
// were given back serve the next arrays, zeroed by nobody: asking the system anew costs up to a fifth of a
// step. Huge pages back the range, which the packing of products, with a stride of a row, needs most. Small
// arrays stay with the heap; among large ones alone the gaps come to some two per cent.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace fathom::train {

class ArrayArena {
 public:
  // Arrays below this many bytes come from the heap.
  static constexpr size_t kLeast = size_t{64} << 10;
  static constexpr size_t kAlignment = 64;
  // Memory comes and goes in pages of this size.
  static constexpr size_t kPage = size_t{2} << 20;

  // Reserves addresses, no memory: four times what the machine has, or as much of that as the process may.
  // Throws std::bad_alloc.
  ArrayArena();
  ArrayArena(const ArrayArena&) = delete;
  ArrayArena& operator=(const ArrayArena&) = delete;
  // Every array was given back.
  ~ArrayArena();

  // Any contents. Throws std::bad_alloc. Thread-safe, as give() is.
  void* take(size_t bytes);
  // What take() returned, or null.
  void give(void* array);

  // The heap's arrays are not counted. `held` is in whole pages, and no page lies unused while more is held
  // than `most_in_use` and a sixteenth.
  struct Figures {
    size_t in_use = 0, most_in_use = 0, held = 0;
  };
  Figures figures() const;

 private:
  // Offsets from base_.
  size_t place(size_t bytes);
  void touch(size_t begin, size_t end);
  void drop_unused_pages(size_t bound);

  char* base_ = nullptr;
  size_t reserved_ = 0;  // bytes of addresses behind base_
  size_t opened_ = 0;    // of those, readable and writable

  mutable std::mutex mutex_;
  size_t top_ = 0;                            // nothing at or above it is taken
  std::map<size_t, size_t> gaps_;             // begin, end; below top_, apart from each other
  std::unordered_map<size_t, size_t> taken_;  // begin, bytes
  std::vector<bool> resident_;                // by page
  Figures figures_;
};

}  // namespace fathom::train
