#include "text/word_cache.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "text/testing.h"

namespace fathom::text {
namespace {

// More words than there are slots: a word may be forgotten, but never answers with another's ids.
TEST(WordCache, AnswersWithTheWordsOwnIdsOrNot) {
  WordCache cache;
  std::map<std::string, std::vector<int32_t>> given;
  RandomStream random(21, 0);
  int found = 0;
  for (int round = 0; round < 200'000; ++round) {
    // Of few different bytes, zero among them, so that words are prefixes and repetitions of each other.
    std::string word;
    for (uint64_t n = 1 + random.next_below(60); n > 0; --n) word += "\0a \xFF"[random.next_below(4)];
    if (random.next_below(2) == 0 && !given.empty())
      word = given.lower_bound(word.substr(0, 2)) == given.end()
                 ? given.begin()->first
                 : given.lower_bound(word.substr(0, 2))->first;
    int32_t ids[WordCache::kMaxIds];
    const int count = cache.find(word, ids);
    const auto known = given.find(word);
    if (count >= 0) {
      ++found;
      ASSERT_NE(known, given.end());
      ASSERT_EQ(std::vector<int32_t>(ids, ids + count), known->second);
      continue;
    }
    std::vector<int32_t> made(random.next_below(25));
    for (int32_t& id : made) id = static_cast<int32_t>(random.next_below(1000));
    if (known != given.end()) made = known->second;
    cache.insert(word, made);
    given[word] = made;
    const bool kept = word.size() <= WordCache::kLongWord && made.size() <= WordCache::kLongIds;
    ASSERT_EQ(cache.find(word, ids), kept ? static_cast<int>(made.size()) : -1);
  }
  EXPECT_GT(found, 1000);
}

}  // namespace
}  // namespace fathom::text
