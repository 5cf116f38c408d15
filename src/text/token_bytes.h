// From token ids back to bytes: what each token stands for, worked out once from the `decoder` of
// tokenizer.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom::text {

// How a token's string becomes bytes, and what is left out at the start of a text.
struct DecoderSpec {
  std::vector<std::pair<std::string, std::string>> replacements;  // in order, before the next two
  bool byte_fallback = false;                                     // <0xNN> is the byte NN
  bool byte_level = false;  // characters of the byte alphabet are bytes; a token with any other
                            // character is taken as it is written
  std::string strip;        // one character, left out up to `strip_count` times at the start
  int32_t strip_count = 0;
  bool first_token_without_spaces = false;
};

class TokenBytes {
 public:
  TokenBytes() = default;
  explicit TokenBytes(DecoderSpec spec) : spec_(std::move(spec)) {}

  // Adds the bytes of the next id, from its token string; empty for an id that is no token.
  void add(std::string_view token);

  // Empty for ids that are no token.
  std::string_view of(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) + 1 >= starts_.size()) return {};
    return std::string_view(bytes_).substr(starts_[id], starts_[id + 1] - starts_[id]);
  }
  const DecoderSpec& spec() const { return spec_; }

 private:
  DecoderSpec spec_;
  std::string bytes_;
  std::vector<size_t> starts_{0};
};

}  // namespace fathom::text
