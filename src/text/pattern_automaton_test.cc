#include "text/pattern_automaton.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "text/pre_tokenizer.h"
#include "text/split_pattern.h"
#include "text/testing.h"
#include "text/text_refused.h"

namespace fathom::text {
namespace {

// What published tokenizers cut with.
struct Published {
  const char* name;
  std::string pattern;
};

const std::vector<Published>& published() {
  static const std::vector<Published> kPatterns = {
      {"gpt2", std::string(kGpt2Pattern)},
      {"llama3",
       R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
      {"qwen2",
       R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
      {"o200k",
       R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
       R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
       R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
      {"deepseek",
       R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
      {"deepseek, ideographs",
       "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+"},
      {"digits", R"(\p{N})"},
      {"words", R"([\w]+|[^\w\s]+)"},
  };
  return kPatterns;
}

Regex compile(const std::string& pattern) {
  Result<Regex> regex = Regex::compile(pattern);
  if (!regex.ok()) throw std::runtime_error(regex.error().message);
  return std::move(regex).value();
}

// Empty, or where the automaton and PCRE2 find different matches.
std::string difference(const SplitPattern& pattern, const Regex& oracle, std::string_view text,
                       MatchScratch& scratch) {
  const std::vector<Range> expected = oracle.find_all(text, scratch);
  std::vector<Range> found;
  pattern.for_each_match(text, scratch, [&](const Range& match) { found.push_back(match); });
  for (size_t i = 0; i < std::max(expected.size(), found.size()); ++i) {
    if (i < expected.size() && i < found.size() && expected[i] == found[i]) continue;
    const auto show = [&](const std::vector<Range>& list) {
      if (i >= list.size()) return std::string("none");
      return "\"" + std::string(text.substr(list[i].begin, list[i].end - list[i].begin)) + "\" at " +
             std::to_string(list[i].begin);
    };
    return "match " + std::to_string(i) + " is " + show(found) + ", expected " + show(expected);
  }
  return "";
}

TEST(PatternAutomaton, FindsWhatPcre2FindsInRandomText) {
  MatchScratch scratch;
  RandomStream random(11, 0);
  for (const Published& known : published()) {
    const SplitPattern pattern(compile(known.pattern));
    ASSERT_NE(pattern.automaton(), nullptr) << known.name;
    const Regex oracle = compile(known.pattern);
    for (int round = 0; round < 2000; ++round) {
      const std::string text = testing::random_text(random, random.next_below(60));
      ASSERT_EQ(difference(pattern, oracle, text, scratch), "") << known.name << "\n" << text;
    }
  }
}

// Each character between letters, digits, spaces and itself.
TEST(PatternAutomaton, KnowsEveryCharacterAsPcre2Does) {
  std::string text;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string one;
    append_utf8(c, one);
    ((((((text += "a") += one) += "B ") += one) += one) += "\n") += one;
    ((text += " 1") += one) += "2'";
  }
  MatchScratch scratch;
  for (const Published& known : published()) {
    const Regex oracle = compile(known.pattern);
    EXPECT_EQ(difference(SplitPattern(compile(known.pattern)), oracle, text, scratch), "") << known.name;
  }
}

std::string random_set(RandomStream& random) {
  constexpr const char* kSets[] = {
      "a",        "b",        "'",      " ",       "[ab]",         R"(\p{L})",
      R"(\p{N})", R"(\s)",    R"(\S)",  "[^a\\s]", R"([\p{Lu}'])", R"([^\r\n\p{L}\p{N}])",
      "[\\r\\n]", "\xC3\xA9", "(?i:s)", "(?i:K)",  "[b-e1]",       R"([^\P{Ll}])"};
  return kSets[random.next_below(std::size(kSets))];
}

std::string random_pattern(RandomStream& random, int depth) {
  constexpr const char* kRepetitions[] = {"?", "*", "+", "{2}", "{1,3}", "{2,}", "??", "*?", "+?", "{1,2}?"};
  std::string out;
  const uint64_t parts = 1 + random.next_below(3);
  for (uint64_t i = 0; i < parts; ++i) {
    const uint64_t kind = random.next_below(8);
    std::string part;
    if (kind == 0 && depth > 0) {
      part = "(?:" + random_pattern(random, depth - 1) + "|" + random_pattern(random, depth - 1) + ")";
    } else if (kind == 1 && depth > 0) {
      part = "(" + random_pattern(random, depth - 1) + ")";
    } else {
      part = random_set(random);
    }
    if (random.next_below(2) == 0) part += kRepetitions[random.next_below(std::size(kRepetitions))];
    if (random.next_below(8) == 0)
      part += (random.next_below(2) == 0 ? "(?!" : "(?=") + random_set(random) + ")";
    out += part;
  }
  if (depth > 0 && random.next_below(2) == 0) out += "|" + random_pattern(random, depth - 1);
  return out;
}

TEST(PatternAutomaton, PrefersTheSameMatchesForRandomPatterns) {
  constexpr const char* kCharacters[] = {
      "a",        "b", "B", "s", "\xC5\xBF", "K",  "\xE2\x84\xAA", "\xC3\xA9",
      "\xCC\x81", "1", "'", " ", "\n",       "\r", "\xEA\xB0\x80", "."};
  MatchScratch scratch;
  RandomStream random(12, 0);
  int regular = 0;
  for (int round = 0; round < 1500; ++round) {
    const std::string source = random_pattern(random, 2);
    const Result<Regex> oracle = Regex::compile(source);
    if (!oracle.ok()) continue;  // an empty look-around or the like
    const SplitPattern pattern(compile(source));
    if (pattern.automaton() == nullptr) continue;
    ++regular;
    for (int i = 0; i < 30; ++i) {
      std::string text;
      for (uint64_t n = random.next_below(25); n > 0; --n) {
        text += kCharacters[random.next_below(std::size(kCharacters))];
      }
      ASSERT_EQ(difference(pattern, *oracle, text, scratch), "") << source << "\n" << text;
    }
  }
  EXPECT_GT(regular, 500);
}

TEST(PatternAutomaton, LeavesOtherPatternsToPcre2) {
  for (const char* source : {"a*",
                             "^a",
                             "a$",
                             R"(\Aa)",
                             R"(\ba)",
                             "(?<=b)a",
                             "(?<!b)a",
                             "a(?!bc)",
                             R"((a)\1)",
                             "a++",
                             "(?>a|b)",
                             ".",
                             R"(\p{Han})",
                             R"(\p{L&})",
                             R"((?i:\p{Lu}))",
                             "(?i:[a-z])",
                             "(?i:\xC3\xA9)",
                             "(?:a?)+",
                             "(?:a?){2}",
                             "a{100}",
                             R"([[:alpha:]])",
                             R"(\x{0}|[\x{0}-\x{10FFFF}])",
                             "(?s:a)",
                             R"(\Qa\E)",
                             R"(\N)",
                             R"(\R)"}) {
    EXPECT_EQ(PatternAutomaton::create(source), nullptr) << source;
  }
}

// A set that is longer than a pattern may be, once its shorthands are written out.
TEST(PatternAutomaton, LeavesALongSetToPcre2) {
  std::string set = "[";
  for (int i = 0; i < 4200; ++i) set += "\\s";
  const SplitPattern pattern(compile(set + "]"));
  EXPECT_EQ(pattern.automaton(), nullptr);
  MatchScratch scratch;
  std::vector<Range> found;
  pattern.for_each_match("ab \tc", scratch, [&](const Range& match) { found.push_back(match); });
  EXPECT_EQ(found, (std::vector<Range>{{2, 3}, {3, 4}}));
}

TEST(PatternAutomaton, APatternThatReadsTheRestAtEveryPlaceRunsOutOfSteps) {
  const SplitPattern pattern(compile("a+b"));
  ASSERT_NE(pattern.automaton(), nullptr);
  MatchScratch scratch;
  const auto search = [&](const std::string& text) {
    size_t matches = 0;
    scratch.begin_text(text.size());
    pattern.for_each_match(text, scratch, [&](const Range&) { ++matches; });
    return matches;
  };
  EXPECT_EQ(search(std::string(2000, 'a')), 0U);
  EXPECT_EQ(search(std::string(1 << 20, 'a') + "b"), 1U);
  try {
    search(std::string(1 << 20, 'a'));
    ADD_FAILURE() << "the search came to an end";
  } catch (const TextRefused& refused) {
    EXPECT_STREQ(refused.what(),
                 "the tokenizer's pattern \"a+b\" takes more than the 272629760 steps that a text of 1048576 "
                 "bytes may take");
  }
  EXPECT_EQ(search("aab"), 1U) << "the next text has steps of its own";
}

TEST(PatternAutomaton, ReadsALongRunOnce) {
  const std::string text(3 << 20, 'x');
  for (const Published& known : published()) {
    const SplitPattern pattern(compile(known.pattern));
    size_t matches = 0;
    MatchScratch scratch;
    scratch.begin_text(text.size());
    pattern.for_each_match(text, scratch, [&](const Range&) { ++matches; });
    EXPECT_LE(matches, 1U) << known.name;
  }
}

}  // namespace
}  // namespace fathom::text
