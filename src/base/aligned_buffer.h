// A block of memory aligned to a cache line, owned, not initialised. Large blocks come from the system as
// zero pages that cost nothing until they are touched, and ask for pages of 2 MiB.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "base/check.h"

namespace fathom {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t bytes) : bytes_(bytes) {
    FATHOM_CHECK(bytes >= 0, "negative size");
    if (bytes == 0) return;
    const int64_t alignment = bytes >= kLarge ? kHugePage : kLine;
    data_.reset(std::aligned_alloc(static_cast<size_t>(alignment),
                                   static_cast<size_t>((bytes + alignment - 1) / alignment * alignment)));
    if (data_ == nullptr) throw std::bad_alloc();
    // A wish: without such pages everything works, with more misses of the address tables.
    if (bytes >= kLarge)
      madvise(data_.get(), static_cast<size_t>(bytes / kHugePage * kHugePage), MADV_HUGEPAGE);
  }

  int64_t bytes() const { return bytes_; }
  template <class T = uint8_t>
  T* as() {
    return static_cast<T*>(data_.get());
  }
  template <class T = uint8_t>
  const T* as() const {
    return static_cast<const T*>(data_.get());
  }

 private:
  static constexpr int64_t kLine = 64;
  static constexpr int64_t kHugePage = 2 << 20;
  static constexpr int64_t kLarge = 4 * kHugePage;
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> data_;
  int64_t bytes_ = 0;
};

}  // namespace fathom
