#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace fathom::text {

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens, const Normalizer& normalizer)
    : tokens_(tokens) {
  MatchScratch scratch;
  size_t bytes = 0;
  for (const AddedToken& token : tokens_) bytes += token.content.size();
  scratch.begin_text(bytes);
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    const std::string content = token.normalized ? normalizer.apply(token.content, scratch) : token.content;
    if (!content.empty()) insert(finders_[token.normalized], content, static_cast<int32_t>(i));
  }
}

int32_t AddedTokens::child_of(const Finder& finder, int32_t node, uint8_t byte) {
  int32_t at = finder.nodes[node].child;
  while (at != -1 && finder.nodes[at].byte != byte) at = finder.nodes[at].sibling;
  return at;
}

void AddedTokens::insert(Finder& finder, std::string_view content, int32_t token) {
  bool& starts = finder.starts[static_cast<uint8_t>(content[0])];
  if (!starts) finder.first_bytes += content[0];
  starts = true;
  int32_t node = 0;
  for (char c : content) {
    const auto byte = static_cast<uint8_t>(c);
    int32_t next = child_of(finder, node, byte);
    if (next == -1) {
      next = static_cast<int32_t>(finder.nodes.size());
      finder.nodes.push_back({-1, -1, finder.nodes[node].child, byte});
      finder.nodes[node].child = next;
    }
    node = next;
  }
  if (finder.nodes[node].token == -1) finder.nodes[node].token = token;
}

size_t AddedTokens::next_start(const Finder& finder, std::string_view text, size_t at) {
  if (finder.first_bytes.size() <= 1) {
    const size_t found =
        finder.first_bytes.empty() ? std::string_view::npos : text.find(finder.first_bytes[0], at);
    return std::min(found, text.size());
  }
  while (at < text.size() && !finder.starts[static_cast<uint8_t>(text[at])]) ++at;
  return at;
}

size_t AddedTokens::match(const Finder& finder, std::string_view text, int32_t& token) {
  size_t longest = 0;
  int32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    node = child_of(finder, node, static_cast<uint8_t>(text[i]));
    if (node == -1) break;
    if (finder.nodes[node].token == -1) continue;
    token = finder.nodes[node].token;
    longest = i + 1;
  }
  return longest;
}

std::vector<Segment> AddedTokens::split(std::string_view text, bool normalized, bool parse_special) const {
  const Finder& finder = finders_[normalized];
  std::vector<Segment> segments;
  size_t done = 0;
  size_t space_end = 0;  // of the white space that was read last
  for (size_t at = 0; (at = next_start(finder, text, at)) < text.size();) {
    int32_t index = -1;
    const size_t size = match(finder, text.substr(at), index);
    if (size == 0) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + size;
    at = end;  // a token passed over below does not make room for another inside it
    const AddedToken& token = tokens_[index];
    if (token.special && !parse_special) continue;
    if (token.single_word && ((begin > 0 && is_word_character(last_character(text.substr(0, begin)))) ||
                              (end < text.size() && is_word_character(first_character(text.substr(end)))))) {
      continue;
    }
    // The token before may have taken the white space already.
    if (token.lstrip) {
      begin = begin > done ? begin - trailing_white_space(text.substr(done, begin - done)) : done;
    }
    if (token.rstrip) {
      // Tokens may stand in white space that one before them took; nothing is read twice.
      if (end > space_end) space_end = end + leading_white_space(text.substr(end));
      end = space_end;
    }
    if (done < begin) segments.push_back({text.substr(done, begin - done)});
    segments.push_back({text.substr(begin, end - begin), token.id});
    done = end;
  }
  if (done < text.size()) segments.push_back({text.substr(done)});
  return segments;
}

}  // namespace fathom::text
