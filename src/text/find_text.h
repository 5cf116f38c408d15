// Searching for a text inside another in time that grows with the sum of their lengths, whatever they hold;
// std::string_view::find takes up to their product.
#pragma once

#include <cstring>
#include <string_view>

namespace fathom::text {

// Where `wanted` stands first in `text` from `from` on, which is not behind its end; npos if nowhere.
inline size_t find_text(std::string_view text, std::string_view wanted, size_t from) {
  const void* found = ::memmem(text.data() + from, text.size() - from, wanted.data(), wanted.size());
  return found == nullptr ? std::string_view::npos
                          : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

}  // namespace fathom::text
