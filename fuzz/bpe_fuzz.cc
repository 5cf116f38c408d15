// Byte-pair encoding against its definition. The input makes a vocabulary over four letters and a text:
// before the first zero byte, each pair of bytes names two tokens that merge; after it, each byte is a
// letter.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace {

struct Rules {
  std::vector<std::string> tokens = {"a", "b", "c", "d"};
  std::map<std::pair<std::string, std::string>, size_t> ranks;
};

Rules rules_from(const uint8_t* data, size_t size) {
  constexpr size_t kMaxMerges = 64, kLongest = 32;
  Rules rules;
  for (size_t i = 0; i + 1 < size && rules.ranks.size() < kMaxMerges; i += 2) {
    const std::string left = rules.tokens[data[i] % rules.tokens.size()];
    const std::string right = rules.tokens[data[i + 1] % rules.tokens.size()];
    if (left.size() + right.size() > kLongest || rules.ranks.contains({left, right})) continue;
    rules.ranks.emplace(std::pair(left, right), rules.ranks.size());
    if (std::find(rules.tokens.begin(), rules.tokens.end(), left + right) == rules.tokens.end())
      rules.tokens.push_back(left + right);
  }
  return rules;
}

std::string tokenizer_json(const Rules& rules) {
  nlohmann::json merges = nlohmann::json::array(), vocab;
  std::vector<std::pair<std::string, std::string>> by_rank(rules.ranks.size());
  for (const auto& [pair, rank] : rules.ranks) by_rank[rank] = pair;
  for (const auto& [left, right] : by_rank) merges.push_back({left, right});
  for (size_t i = 0; i < rules.tokens.size(); ++i) vocab[rules.tokens[i]] = i;
  return nlohmann::json({{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}}).dump();
}

// Sennrich et al. 2016, section 3.2: of all adjacent pairs the one of lowest rank, leftmost first.
std::vector<std::string> by_definition(const Rules& rules, const std::string& text) {
  std::vector<std::string> parts;
  for (char letter : text) parts.emplace_back(1, letter);
  for (;;) {
    size_t best = SIZE_MAX, at = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = rules.ranks.find({parts[i], parts[i + 1]});
      if (found != rules.ranks.end() && found->second < best) {
        best = found->second;
        at = i;
      }
    }
    if (best == SIZE_MAX) return parts;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kLongestText = 256;
  const size_t cut = static_cast<size_t>(std::find(data, data + size, uint8_t{0}) - data);
  const Rules rules = rules_from(data, cut);
  std::string text;
  for (size_t i = cut + 1; i < size && text.size() < kLongestText; ++i) text += rules.tokens[data[i] % 4];

  const auto tokenizer = fathom::text::Tokenizer::from_json(tokenizer_json(rules));
  if (!tokenizer.ok()) std::abort();
  std::vector<std::string> found;
  for (int32_t id : tokenizer->encode(text)) found.push_back(rules.tokens[static_cast<size_t>(id)]);
  if (found != by_definition(rules, text)) std::abort();
  return 0;
}
