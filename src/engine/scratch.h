// The executor's working memory, carved once from one block.
#pragma once

#include <cstdint>

#include "base/aligned_buffer.h"
#include "base/extents.h"

namespace fathom {

// Hands out pieces of a block whose size is found by a first, dry pass over the same requests.
class Scratch {
 public:
  // First pass: take() returns null and counts. After allocate(), the same requests return memory.
  template <class T>
  T* take(int64_t count) {
    const int64_t begin = used_;
    used_ += round_up(count * static_cast<int64_t>(sizeof(T)), 64);
    return block_.bytes() > 0 ? reinterpret_cast<T*>(block_.as() + begin) : nullptr;
  }
  void allocate() {
    block_ = AlignedBuffer(used_ > 0 ? used_ : 64);
    used_ = 0;
  }
  int64_t bytes() const { return block_.bytes(); }

 private:
  AlignedBuffer block_;
  int64_t used_ = 0;
};

}  // namespace fathom
