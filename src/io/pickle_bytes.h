// The bytes of a pickle, taken from the front. Private to state_dict_pickle.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fathom::pickle {

class Bytes {
 public:
  explicit Bytes(std::span<const uint8_t> pickle) : pickle_(pickle) {}

  size_t position() const { return at_; }
  size_t left() const { return pickle_.size() - at_; }

  Result<std::string_view> take(uint64_t count) {
    if (count > pickle_.size() - at_) {
      return invalid("the pickle ends inside an opcode that needs " + std::to_string(count) + " more bytes");
    }
    const std::string_view bytes(reinterpret_cast<const char*>(pickle_.data()) + at_, count);
    at_ += count;
    return bytes;
  }

  Result<uint64_t> take_number(int width) {
    FATHOM_ASSIGN(const std::string_view bytes, take(static_cast<uint64_t>(width)));
    uint64_t value = 0;
    for (int i = width - 1; i >= 0; --i)
      value = value << 8 | static_cast<uint8_t>(bytes[static_cast<size_t>(i)]);
    return value;
  }

  Result<std::string_view> take_line() {
    const std::string_view rest(reinterpret_cast<const char*>(pickle_.data()) + at_, pickle_.size() - at_);
    const size_t length = rest.find('\n');
    if (length == std::string_view::npos) return invalid("the pickle ends inside the name of a global");
    at_ += length + 1;
    return rest.substr(0, length);
  }

 private:
  std::span<const uint8_t> pickle_;
  size_t at_ = 0;
};

}  // namespace fathom::pickle
