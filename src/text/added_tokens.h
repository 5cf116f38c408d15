// Tokens that are found in the text itself, before any cutting into words: control tokens such as
// <|endoftext|>, and further words that a vocabulary was given later.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/normalizer.h"

namespace fathom::text {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;      // a control token: may be read as plain text, and left out when decoding
  bool normalized = false;   // looked for after normalisation instead of before
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
};

// A stretch of text: an added token (id >= 0), or text in between (id == kPlainText).
struct Segment {
  static constexpr int32_t kPlainText = -1;
  std::string_view text;
  int32_t id = kPlainText;
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // Tokens with empty content are never found. `normalizer` is applied to the contents that are looked for
  // after normalisation; throws TextRefused if it cannot be.
  AddedTokens(const std::vector<AddedToken>& tokens, const Normalizer& normalizer);

  // Cuts `text` (valid UTF-8) at the tokens, leftmost first and the longest at one place. With `normalized`,
  // those to be found after normalisation, else the others. Without `parse_special`, special tokens are text.
  std::vector<Segment> split(std::string_view text, bool normalized, bool parse_special) const;

 private:
  // A trie over bytes, children in a linked list: there are few tokens, and few places where one starts.
  struct Node {
    int32_t token = -1;  // index in tokens_ of the one that ends here
    int32_t child = -1, sibling = -1;
    uint8_t byte = 0;
  };
  struct Finder {
    std::vector<Node> nodes{Node{}};
    std::array<bool, 256> starts{};
    std::string first_bytes;  // those that are in `starts`
  };
  static int32_t child_of(const Finder& finder, int32_t node, uint8_t byte);
  static void insert(Finder& finder, std::string_view content, int32_t token);
  // Where the next token may start, from `at` on; the size of `text` if nowhere.
  static size_t next_start(const Finder& finder, std::string_view text, size_t at);
  // Length of the longest token at the start of `text` and its index; 0 if there is none.
  static size_t match(const Finder& finder, std::string_view text, int32_t& token);

  std::vector<AddedToken> tokens_;
  std::array<Finder, 2> finders_;  // [normalized]
};

}  // namespace fathom::text
