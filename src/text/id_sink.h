// Where an encoder puts ids: a small array in front of the caller's list, so that the list grows rarely.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "text/word_cache.h"

namespace fathom::text {

class IdSink {
 public:
  // Appends to `out`, at the latest when flush() is called.
  explicit IdSink(std::vector<int32_t>& out) : out_(out) {}

  // Room for WordCache::kMaxIds ids; those that stay are then counted by advance().
  int32_t* reserve() {
    if (size_ + WordCache::kMaxIds > ids_.size()) flush();
    return ids_.data() + size_;
  }
  void advance(size_t count) { size_ += count; }

  void append(std::span<const int32_t> ids) {
    flush();
    out_.insert(out_.end(), ids.begin(), ids.end());
  }

  void flush() {
    out_.insert(out_.end(), ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(size_));
    size_ = 0;
  }

 private:
  std::vector<int32_t>& out_;
  size_t size_ = 0;
  std::array<int32_t, 1024> ids_;
};

}  // namespace fathom::text
