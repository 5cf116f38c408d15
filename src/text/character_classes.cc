#include "text/character_classes.h"

#include <algorithm>

#include "base/check.h"
#include "text/utf8.h"

namespace fathom::text {

namespace {

// Some characters of every general category but Cs (surrogates are no text); U+2028 and U+2029 are alone in
// theirs. Noncharacters such as U+FDD0 stay unassigned for ever.
constexpr std::array<std::array<char32_t, 2>, 29> kOfCategory = {{
    {0xC0, 0x391},    {0xE0, 0x3B1},   {0x1C5, 0x1F88}, {0x2B0, 0x3005},   {0xAA, 0x5D0},   {0x300, 0x591},
    {0x903, 0x983},   {0x488, 0x20DD}, {0x660, 0x966},  {0x16EE, 0x2160},  {0xB2, 0x2460},  {0x203F, 0xFE33},
    {0x58A, 0x2010},  {0xF3A, 0x2045}, {0xF3B, 0x2046}, {0xAB, 0x2018},    {0xBB, 0x2019},  {0xA1, 0x55A},
    {0xAC, 0x2200},   {0xA2, 0x20AC},  {0xA8, 0x2C2},   {0xA6, 0x2190},    {0xA0, 0x1680},  {0x2028, 0x2028},
    {0x2029, 0x2029}, {0x80, 0x90},    {0xAD, 0x600},   {0xE000, 0xF0000}, {0x378, 0xFDD0},
}};

constexpr bool is_surrogate(char32_t c) { return c >= 0xD800 && c < 0xE000; }

bool names(const std::vector<CharacterSet>& sets, char32_t character) {
  return std::ranges::any_of(sets, [&](const CharacterSet& set) {
    return std::ranges::any_of(
        set.named, [&](const auto& range) { return range.first <= character && character <= range.second; });
  });
}

// Whether characters that no set names can be told from one of their category that no set names either.
bool categories_are_known(const std::vector<CharacterSet>& sets) {
  return std::ranges::all_of(kOfCategory, [&](const auto& of_one) {
    return of_one[0] == of_one[1] ||
           std::ranges::any_of(of_one, [&](char32_t character) { return !names(sets, character); });
  });
}

}  // namespace

std::unique_ptr<const CharacterClasses> CharacterClasses::create(const std::vector<CharacterSet>& sets) {
  if (sets.size() > kMaxSets || !categories_are_known(sets)) return nullptr;
  std::unique_ptr<CharacterClasses> classes(new CharacterClasses);
  for (const CharacterSet& set : sets) {
    Result<Regex> regex = Regex::compile("(?:" + set.source + ")+");
    if (!regex.ok()) return nullptr;  // with its shorthands written out it is too long
    classes->sets_.push_back(std::move(regex).value());
  }
  // Every combination of sets that can occur is met here: among the named characters, or for one of the
  // others of each category.
  std::vector<bool> blocks(kBlocks);
  blocks[0] = true;
  for (const auto& of_one : kOfCategory) {
    for (char32_t character : of_one) blocks[character / kBlock] = true;
  }
  for (const CharacterSet& set : sets) {
    for (const auto& [first, last] : set.named) {
      for (size_t block = first / kBlock; block <= last / kBlock; ++block) blocks[block] = true;
    }
  }
  std::vector<uint64_t>& known = classes->members_;
  for (size_t block = 0; block < kBlocks; ++block) {
    if (!blocks[block]) continue;
    const auto asked = classes->ask(block);
    for (uint64_t members : asked) {
      if (std::ranges::find(known, members) == known.end()) known.push_back(members);
    }
    if (known.size() > 256) return nullptr;
    classes->keep(block, asked);
  }
  for (size_t byte = 0; byte < classes->ascii_.size(); ++byte) classes->ascii_[byte] = classes->of(byte);
  return classes;
}

CharacterClasses::~CharacterClasses() {
  for (const auto& block : blocks_) delete block.load();
}

std::array<uint64_t, CharacterClasses::kBlock> CharacterClasses::ask(size_t block) const {
  std::string text;
  std::vector<size_t> character_at;  // by byte of `text`; of the end, too
  for (size_t i = 0; i < kBlock; ++i) {
    const auto character = static_cast<char32_t>(block * kBlock + i);
    if (!is_surrogate(character)) append_utf8(character, text);
    character_at.resize(text.size(), i);
  }
  character_at.push_back(kBlock);
  std::array<uint64_t, kBlock> members{};
  for (size_t set = 0; set < sets_.size(); ++set) {
    for (const Range& run : sets_[set].find_all(text, scratch_)) {
      for (size_t i = character_at[run.begin]; i < character_at[run.end]; ++i)
        members[i] |= uint64_t{1} << set;
    }
  }
  return members;
}

const CharacterClasses::Block& CharacterClasses::fill(size_t block) const {
  const std::lock_guard lock(mutex_);
  if (const Block* filled = blocks_[block].load()) return *filled;
  return keep(block, ask(block));
}

const CharacterClasses::Block& CharacterClasses::keep(size_t block,
                                                      const std::array<uint64_t, kBlock>& members) const {
  auto made = std::make_unique<Block>();
  std::ranges::transform(members, made->begin(), [this](uint64_t of_one) { return class_of(of_one); });
  blocks_[block].store(made.get(), std::memory_order_release);
  return *made.release();
}

uint8_t CharacterClasses::class_of(uint64_t members) const {
  const auto found = std::ranges::find(members_, members);
  FATHOM_CHECK(found != members_.end(), "a character is held by an unforeseen combination of sets");
  return static_cast<uint8_t>(found - members_.begin());
}

}  // namespace fathom::text
