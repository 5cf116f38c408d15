#include "text/bpe_trainer.h"

#include <algorithm>
#include <set>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/pair_counts.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace fathom::text {

namespace {

constexpr size_t kBlock = 1 << 20;
constexpr size_t kPendingLimit = 16 * kBlock;

std::vector<AddedToken> as_added(const std::vector<std::string>& specials) {
  std::vector<AddedToken> out;
  for (const std::string& token : specials) {
    out.push_back({.id = static_cast<int32_t>(out.size()), .content = token, .special = true});
  }
  return out;
}

PreTokenizer gpt2_words() {
  Result<Regex> pattern = Regex::compile(kGpt2Pattern);
  FATHOM_CHECK(pattern.ok(), pattern.error().message);
  return PreTokenizer({SplitStep{SplitPattern(std::move(pattern).value())}});
}

// Where a text may be cut without changing any word of GPT-2's pattern: before ASCII white space that follows
// something else, as no alternative of the pattern crosses that place. The last such place; 0 if there is
// none.
size_t last_cut(std::string_view text) {
  for (size_t at = text.size(); at-- > 1;) {
    const bool space = text[at] == ' ' || text[at] == '\n';
    if (space && !is_white_space(last_character(text.substr(0, at)))) return at;
  }
  return 0;
}

// Not inside a character.
size_t character_start(std::string_view text, size_t at) {
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

}  // namespace

Result<BpeTrainer> BpeTrainer::create(BpeTrainOptions options) {
  std::set<std::string> seen;
  for (const std::string& token : options.special_tokens) {
    // ASCII, so that no learnt token is written like it: the byte alphabet is the identity there.
    const auto is_printable = [](char c) { return c > ' ' && c <= '~'; };
    if (token.size() < 2 || !std::ranges::all_of(token, is_printable)) {
      return invalid("special token \"" + token +
                     "\" must be two or more printable ASCII characters, no space");
    }
    if (!seen.insert(token).second) return invalid("special token \"" + token + "\" is given twice");
  }
  const int64_t least = 256 + static_cast<int64_t>(options.special_tokens.size());
  if (options.vocab_size < least || options.vocab_size > kMaxTokenId) {
    return invalid("a vocabulary of " + std::to_string(options.vocab_size) + " was asked for, expected " +
                   std::to_string(least) + " (bytes and special tokens) to " + std::to_string(kMaxTokenId));
  }
  return BpeTrainer(std::move(options));
}

BpeTrainer::BpeTrainer(BpeTrainOptions options)
    : options_(std::move(options)),
      specials_(as_added(options_.special_tokens), Normalizer()),
      pre_tokenizer_(gpt2_words()),
      scratch_(std::make_unique<MatchScratch>()) {}

void BpeTrainer::feed(std::string_view text) {
  while (!text.empty()) {
    const size_t take = std::min(text.size(), kBlock);
    pending_ += text.substr(0, take);
    text.remove_prefix(take);
    if (pending_.size() < kBlock) continue;
    size_t cut = last_cut(pending_);
    // Text without any white space: some word is cut, at a place that depends on the text only.
    if (cut == 0 && pending_.size() >= kPendingLimit) cut = character_start(pending_, pending_.size() - 1);
    count_words(std::string_view(pending_).substr(0, cut));
    pending_.erase(0, cut);
  }
}

void BpeTrainer::end_text() {
  count_words(pending_);
  pending_.clear();
}

void BpeTrainer::count_words(std::string_view text) {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    repaired = replace_invalid_utf8(text);
    text = repaired;
  }
  for (const Segment& segment : specials_.split(text, false, true)) {
    if (segment.id != Segment::kPlainText) continue;
    pre_tokenizer_.split(segment.text, false, *scratch_,
                         [&](std::string_view word) { ++words_[std::string(word)]; });
  }
}

TrainedBpe BpeTrainer::train() {
  end_text();
  TrainedBpe out{.special_tokens = options_.special_tokens, .tokens = options_.special_tokens, .merges = {}};
  // Bytes in the order of their characters, as GPT-2 has them.
  std::vector<uint8_t> bytes(256);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  std::ranges::sort(bytes, {}, character_of_byte);
  std::vector<int32_t> id_of_byte(256);
  for (uint8_t byte : bytes) {
    id_of_byte[byte] = static_cast<int32_t>(out.tokens.size());
    out.tokens.emplace_back(1, static_cast<char>(byte));
  }
  // Each word leaves the map as it joins the list: there are many, and both would hold them all.
  std::vector<PairCounts::Word> words;
  words.reserve(words_.size());
  while (!words_.empty()) {
    const auto word = words_.extract(words_.begin());
    PairCounts::Word& added = words.emplace_back();
    added.count = word.mapped();
    added.ids.reserve(word.key().size());
    for (char byte : word.key()) added.ids.push_back(id_of_byte[static_cast<uint8_t>(byte)]);
  }
  PairCounts pairs(std::move(words), out.tokens);
  // Two pairs may make the same token ("ab" "c" and "a" "bc"), and none may make a special one.
  std::unordered_map<std::string, int32_t> ids;
  for (size_t id = 0; id < out.tokens.size(); ++id) ids.emplace(out.tokens[id], static_cast<int32_t>(id));
  while (static_cast<int64_t>(out.tokens.size()) < options_.vocab_size) {
    const PairCounts::Pair best = pairs.best();
    if (best.count < std::max<int64_t>(options_.min_count, 1)) break;
    std::string merged = out.tokens[best.left] + out.tokens[best.right];
    const auto [known, is_new] = ids.emplace(merged, static_cast<int32_t>(out.tokens.size()));
    out.merges.emplace_back(out.tokens[best.left], out.tokens[best.right]);
    if (is_new) out.tokens.push_back(std::move(merged));
    pairs.merge(best.left, best.right, known->second);
  }
  return out;
}

}  // namespace fathom::text
