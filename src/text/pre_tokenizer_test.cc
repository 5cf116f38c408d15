#include "text/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/component_json.h"
#include "text/pattern_dialect.h"
#include "text/text_refused.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

constexpr const char* kCl100k =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kO200k =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

Words cut(const Json& json, std::string_view text) {
  const Result<PreTokenizer> made = read_pre_tokenizer(json, "pre_tokenizer");
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
  if (!made.ok()) return {};
  MatchScratch scratch;
  Words words;
  made->split(text, true, scratch, [&](std::string_view piece) { words.emplace_back(piece); });
  return words;
}

Json split_json(const std::string& pattern, const std::string& behavior, bool invert = false) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", invert}};
}

TEST(PreTokenizer, Gpt2CutsWordsNumbersAndSpaces) {
  const Json gpt2 = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  EXPECT_THAT(cut(gpt2, "Hello, it's 42  cats\n"),
              ElementsAre("Hello", ",", " it", "'s", " 42", " ", " cats", "\n"));
  EXPECT_THAT(cut(gpt2, "a  \n\nb"), ElementsAre("a", "  \n", "\n", "b"));
  EXPECT_THAT(cut(gpt2, "end   "), ElementsAre("end", "   "));
  EXPECT_THAT(cut(gpt2, ""), ElementsAre());
}

TEST(PreTokenizer, PrefixSpaceComesOnceAndOnlyBeforeOtherThanASpace) {
  const Json prefixed = {{"type", "ByteLevel"}, {"add_prefix_space", true}};
  EXPECT_THAT(cut(prefixed, "a b"), ElementsAre(" a", " b"));
  EXPECT_THAT(cut(prefixed, " a"), ElementsAre(" a"));
  EXPECT_THAT(cut(prefixed, "\na"), ElementsAre(" ", "\n", "a"));
}

TEST(PreTokenizer, Llama3KeepsThreeDigitsAndFoldsContractions) {
  const Json llama3 = split_json(kCl100k, "Isolated");
  EXPECT_THAT(cut(llama3, "WE'LL pay 12345!\n\n ok"),
              ElementsAre("WE", "'LL", " pay", " ", "123", "45", "!\n\n", " ok"));
  EXPECT_THAT(cut(llama3, "x'\xC5\xBF"), ElementsAre("x", "'\xC5\xBF"));  // long s folds to s
}

TEST(PreTokenizer, O200kCutsAtCaseAndKeepsMarks) {
  const Json o200k = split_json(kO200k, "Removed", true);
  EXPECT_THAT(cut(o200k, "HelloWorld it's"), ElementsAre("Hello", "World", " it's"));
  EXPECT_THAT(cut(o200k, "e\xCC\x81t\xC3\xA9 a/b"), ElementsAre("e\xCC\x81t\xC3\xA9", " a", "/b"));
}

TEST(PreTokenizer, DigitsComeApartBeforeWords) {
  const Json smollm = {{"type", "Sequence"},
                       {"pretokenizers",
                        {{{"type", "Digits"}, {"individual_digits", true}},
                         {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}};
  EXPECT_THAT(cut(smollm, "a 1"), ElementsAre("a", " ", "1"));
  EXPECT_THAT(cut(smollm, "x123 y"), ElementsAre("x", "1", "2", "3", " y"));
  EXPECT_THAT(cut({{"type", "Digits"}}, "a 12 b"), ElementsAre("a ", "12", " b"));
}

TEST(PreTokenizer, EveryBehaviorOfSplit) {
  const struct {
    const char* behavior;
    bool invert;
    Words expected;
  } cases[] = {
      {"Removed", false, {"a", "b", "c"}},
      {"Removed", true, {"-", "-", "-"}},
      {"Isolated", false, {"a", "-", "b", "-", "-", "c"}},
      {"MergedWithPrevious", false, {"a-", "b-", "-", "c"}},
      {"MergedWithNext", false, {"a", "-b", "-", "-c"}},
      {"Contiguous", false, {"a", "-", "b", "--", "c"}},
  };
  for (const auto& c : cases)
    EXPECT_EQ(cut(split_json("-", c.behavior, c.invert), "a-b--c"), c.expected) << c.behavior;
}

TEST(PreTokenizer, TheOtherKinds) {
  EXPECT_THAT(cut({{"type", "Whitespace"}}, "Hi there_1!? "), ElementsAre("Hi", "there_1", "!?"));
  EXPECT_THAT(cut({{"type", "WhitespaceSplit"}},
                  " a,\xC2\xA0"
                  "b "),
              ElementsAre("a,", "b"));
  EXPECT_THAT(cut({{"type", "Punctuation"}}, "a,b"), ElementsAre("a", ",", "b"));
  EXPECT_THAT(cut({{"type", "Metaspace"}}, "a b"), ElementsAre("\xE2\x96\x81"
                                                               "a",
                                                               "\xE2\x96\x81"
                                                               "b"));
  EXPECT_THAT(cut({{"type", "Metaspace"}, {"prepend_scheme", "never"}, {"split", false}}, "a b"),
              ElementsAre("a\xE2\x96\x81"
                          "b"));
}

TEST(PreTokenizer, PiecesOfACoveringSplitJoinToTheText) {
  std::string text;
  for (char32_t c = 1; c < 0x3000; ++c) append_utf8(c, text);
  for (const char* pattern : {kCl100k, kO200k}) {
    const Words words = cut(split_json(pattern, "Isolated"), text);
    EXPECT_GT(words.size(), 500U);
    std::string joined;
    for (const std::string& word : words) joined += word;
    EXPECT_EQ(joined, text);
  }
}

TEST(PreTokenizer, LongRunsNeedNoLimit) {
  const std::string spaces(3 << 20, ' ');
  const std::string letters(3 << 20, 'x');
  for (const char* pattern : {kCl100k, kO200k}) {
    EXPECT_EQ(cut(split_json(pattern, "Isolated"), spaces).size(), 1U);
    EXPECT_EQ(cut(split_json(pattern, "Isolated"), letters).size(), 1U);
  }
}

// What PCRE2 runs is counted too: what it tries, what it reads, and whatever is tried again.
TEST(Regex, PatternsThatGoBackAndForthRunOutOfSteps) {
  for (const char* pattern :
       {"(a+)+[bc]", "(?:a|aa)++[bc]", "(?<!x)a++[bc]", "(?<!x)(?:a|aa)+[bc]", R"((?=(a+)[bc])a)"}) {
    const Result<Regex> regex = Regex::compile(pattern);
    ASSERT_TRUE(regex.ok()) << pattern;
    MatchScratch scratch;
    const std::string text(20'000, 'a');
    scratch.begin_text(text.size());
    EXPECT_THROW(regex->find_all(text, scratch), TextRefused) << pattern;
    scratch.begin_text(3);
    EXPECT_EQ(regex->find_all("aab", scratch).size(), std::string_view(pattern).starts_with("(?=") ? 2U : 1U)
        << pattern;
  }
}

TEST(Regex, AllSearchesOfATextShareItsSteps) {
  const Result<Regex> regex = Regex::compile("(?<!x)a++[bc]");
  ASSERT_TRUE(regex.ok());
  MatchScratch scratch;
  const std::string text(1000, 'a');  // half a million steps
  scratch.begin_text(text.size());
  const auto search = [&] { return regex->find_all(text, scratch).size(); };
  EXPECT_EQ(search(), 0U);
  EXPECT_EQ(search(), 0U);
  EXPECT_THROW(for (int i = 0; i < 20; ++i) search(), TextRefused);
}

// No limit stands in the way of what is long and simple.
TEST(Regex, LongMatchesNeedNoMoreStepsThanTheirText) {
  const Result<Regex> regex = Regex::compile("^(?:ab)+$");
  ASSERT_TRUE(regex.ok());
  std::string text;
  for (int i = 0; i < 1'000'000; ++i) text += "ab";
  MatchScratch scratch;
  scratch.begin_text(text.size());
  EXPECT_THAT(regex->find_all(text, scratch), ElementsAre(Range{0, text.size()}));
}

TEST(PatternDialect, ClassesMeanWhatUnicodeSays) {
  MatchScratch scratch;
  const auto matches = [&](const char* pattern, char32_t character) {
    std::string text;
    append_utf8(character, text);
    return !Regex::compile(pattern)->find_all(text, scratch).empty();
  };
  for (char32_t c = 0; c < 0x3100; ++c) {
    ASSERT_EQ(matches(R"(\s)", c), is_white_space(c)) << static_cast<uint32_t>(c);
    if (matches(R"(\p{Cn})", c)) continue;  // the two libraries know different versions of Unicode
    ASSERT_EQ(matches(R"(\w)", c), is_word_character(c)) << static_cast<uint32_t>(c);
    ASSERT_NE(matches(R"([\w])", c), matches(R"(\W)", c)) << static_cast<uint32_t>(c);
  }
}

TEST(PatternDialect, RefusesWhatTheDialectsReadDifferently) {
  const struct {
    const char *pattern, *message;
  } cases[] = {
      {"[a[bc]]", "class inside a class"},
      {"[a-z&&[^b]]", "intersection"},
      {"(?m)a.b", "(?m)"},
      {R"(\p{N}{1,3}+)", "{n,m}+"},
      {R"([\S])", "inside a class"},
      {"[abc", "closing bracket"},
      {"a\\", "backslash"},
      {R"(\u12)", "four hexadecimal"},
      {"(a", "does not compile"},
      {R"(\p{Nosuchthing}a)", "does not compile"},
  };
  for (const auto& c : cases) {
    const Result<Regex> regex = Regex::compile(c.pattern);
    ASSERT_FALSE(regex.ok()) << c.pattern;
    EXPECT_THAT(regex.error().message, HasSubstr(c.message));
  }
}

TEST(PatternDialect, LiteralsMatchOnlyThemselves) {
  MatchScratch scratch;
  const std::string text = R"(a.b(c)[d]{2}^$|\?*+ - # &~ )";
  const Result<Regex> regex = Regex::literal(text);
  ASSERT_TRUE(regex.ok());
  EXPECT_THAT(regex->find_all("x" + text + "x", scratch), ElementsAre(Range{1, 1 + text.size()}));
  EXPECT_TRUE(regex->find_all(std::string(text.size(), 'a'), scratch).empty());
  EXPECT_THAT(Regex::literal("aa")->find_all("aaaaa", scratch), ElementsAre(Range{0, 2}, Range{2, 4}));
}

TEST(Regex, EmptyMatchesNextToOthersArePassedOver) {
  MatchScratch scratch;
  const Result<Regex> regex = Regex::compile("b*");
  ASSERT_TRUE(regex.ok());
  EXPECT_THAT(regex->find_all("abbc", scratch), ElementsAre(Range{0, 0}, Range{1, 3}, Range{4, 4}));
}

}  // namespace
}  // namespace fathom::text
