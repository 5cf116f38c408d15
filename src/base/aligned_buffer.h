// A block of memory aligned to a cache line, owned, not initialised. Large blocks come from the system as
// zero pages that cost nothing until they are touched.
#pragma once

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
    data_.reset(std::aligned_alloc(kAlignment,
                                   static_cast<size_t>((bytes + kAlignment - 1) / kAlignment * kAlignment)));
    if (data_ == nullptr) throw std::bad_alloc();
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
  static constexpr int64_t kAlignment = 64;
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> data_;
  int64_t bytes_ = 0;
};

}  // namespace fathom
