#include "text/tokenizer.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <thread>

#include "base/file.h"
#include "text/incremental_decoder.h"
#include "text/testing.h"
#include "text/text_refused.h"

namespace fathom::text {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr EncodeOptions kPlain{.add_special_tokens = false, .parse_special = false};

Json with_added(std::vector<Json> tokens) {
  Json json = small_json();
  for (Json& token : tokens) json["added_tokens"].push_back(std::move(token));
  return json;
}

TEST(Tokenizer, DecodingUndoesEncoding) {
  const Tokenizer tokenizer = make(small_json());
  RandomStream random(1, 0);
  for (int round = 0; round < 300; ++round) {
    const std::string text = random_text(random, random.next_below(200));
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text, kPlain)), text);
  }
}

TEST(Tokenizer, AnyBytesBecomeValidText) {
  const Tokenizer tokenizer = make(small_json());
  RandomStream random(2, 0);
  for (int round = 0; round < 300; ++round) {
    const std::string bytes = random_bytes(random, random.next_below(100));
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(bytes, kPlain)), replace_invalid_utf8(bytes));
  }
}

TEST(Tokenizer, MergesTheLowestRankFirst) {
  const Tokenizer tokenizer = make(small_json());
  EXPECT_THAT(tokenizer.encode(" the"), ElementsAre(258));
  EXPECT_THAT(tokenizer.encode("the"), ElementsAre('t', 257));
  EXPECT_THAT(tokenizer.encode(" tin"), ElementsAre(256, 259));
  EXPECT_THAT(tokenizer.encode(" the the", {}), ElementsAre(258, 258));
}

TEST(Tokenizer, ALongWordIsMergedTheSameAsAShortOne) {
  // Equal ranks merge from the left, so an odd run leaves its last letter.
  Json json = small_json();
  json["model"]["vocab"]["aa"] = 260;
  json["model"]["vocab"]["aaaa"] = 261;
  json["model"]["merges"].push_back("a a");
  json["model"]["merges"].push_back("aa aa");
  const Tokenizer tokenizer = make(json);
  const std::vector<int32_t> ids = tokenizer.encode(std::string(400'003, 'a'));
  ASSERT_EQ(ids.size(), 100'002U);
  EXPECT_EQ(ids.front(), 261);
  EXPECT_EQ(ids[100'000], 260);
  EXPECT_EQ(ids.back(), 'a');
}

// The definition, word for word: the pair of lowest rank, leftmost first, again and again.
std::vector<int32_t> merged_one_by_one(const Json& model, std::string_view word) {
  std::vector<std::string> parts;
  for (char byte : word) parts.push_back(to_byte_characters(std::string(1, byte)));
  for (;;) {
    size_t best = parts.size(), best_rank = model["merges"].size();
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (model["merges"][rank] != Json{parts[i], parts[i + 1]}) continue;
        best = i;
        best_rank = rank;
      }
    }
    if (best == parts.size()) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& part : parts) ids.push_back(model["vocab"][part]);
  return ids;
}

TEST(Tokenizer, WordsOfAnyLengthMergeAsDefined) {
  RandomStream random(6, 0);
  for (int round = 0; round < 20; ++round) {
    Json json = small_json();
    json["added_tokens"] = Json::array();
    Json& vocab = json["model"]["vocab"];
    std::vector<std::string> pieces = {"a", "b", "c"};
    while (pieces.size() < 25) {
      const std::string left = pieces[random.next_below(pieces.size())];
      const std::string right = pieces[random.next_below(pieces.size())];
      const std::string token = left + right;
      if (vocab.contains(token)) continue;
      vocab[token] = vocab.size();
      json["model"]["merges"].push_back({left, right});
      pieces.push_back(token);
    }
    const Tokenizer tokenizer = make(json);
    for (size_t size : {1, 2, 3, 7, 30, 63, 64, 65, 66, 150}) {
      std::string word;
      while (word.size() < size) word += "abc"[random.next_below(3)];
      const std::vector<int32_t> expected = merged_one_by_one(json["model"], word);
      ASSERT_EQ(tokenizer.encode(word), expected) << word;
      ASSERT_EQ(tokenizer.encode(word), expected) << word << ", from the cache";
    }
  }
}

TEST(Tokenizer, IgnoreMergesTakesAWholeWord) {
  Json json = small_json();
  json["model"]["vocab"]["cat"] = 260;  // reachable by no merge
  EXPECT_THAT(make(json).encode("cat"), ElementsAre('c', 'a', 't'));
  json["model"]["ignore_merges"] = true;
  EXPECT_THAT(make(json).encode("cat"), ElementsAre(260));
}

TEST(Tokenizer, SpecialTokensArePlainTextUnlessAskedFor) {
  const Tokenizer tokenizer = make(small_json());
  EXPECT_THAT(tokenizer.encode("a<|end|>"), ElementsAre('a', 300));
  EXPECT_EQ(tokenizer.encode("a<|end|>", kPlain).size(), 8U);
  EXPECT_EQ(tokenizer.decode(std::vector{97, 300, 98}), "a<|end|>b");
  EXPECT_EQ(tokenizer.decode(std::vector{97, 300, 98}, true), "ab");
  EXPECT_EQ(tokenizer.vocab_size(), 301);
  EXPECT_EQ(tokenizer.token_to_id("<|end|>"), 300);
  EXPECT_EQ(tokenizer.id_to_token(300), "<|end|>");
  EXPECT_EQ(tokenizer.id_to_token(280), std::nullopt);  // a gap
  EXPECT_TRUE(tokenizer.is_special(300));
  EXPECT_FALSE(tokenizer.is_special(97));
}

TEST(Tokenizer, AddedTokensTakeTheLongestAndTheSpaceTheyClaim) {
  const Tokenizer tokenizer = make(with_added({
      {{"id", 301}, {"content", "<a>"}, {"lstrip", true}},
      {{"id", 302}, {"content", "<a><b>"}},
      {{"id", 303}, {"content", "<r>"}, {"rstrip", true}},
      {{"id", 304}, {"content", "cat"}, {"single_word", true}},
  }));
  EXPECT_THAT(tokenizer.encode("x  <a>y"), ElementsAre('x', 301, 'y'));
  EXPECT_THAT(tokenizer.encode("<a><b>"), ElementsAre(302));
  EXPECT_THAT(tokenizer.encode("<r> \n <a>"), ElementsAre(303, 301));
  EXPECT_THAT(tokenizer.encode("(cat)"), ElementsAre('(', 304, ')'));
  EXPECT_THAT(tokenizer.encode("cats"), ElementsAre('c', 'a', 't', 's'));
  EXPECT_THAT(tokenizer
                  .encode("\xC3\xA9"
                          "cat")
                  .size(),
              5);
}

// Each stands in the white space that the one before it took.
TEST(Tokenizer, TokensOfWhiteSpaceReadItOnce) {
  Json json = with_added({{{"id", 301}, {"content", "_ "}, {"lstrip", true}, {"rstrip", true}},
                          {{"id", 302}, {"content", "\n"}, {"rstrip", true}, {"normalized", false}},
                          {{"id", 303}, {"content", "\t"}, {"lstrip", true}, {"normalized", false}}});
  const Tokenizer tokenizer = make(json);
  EXPECT_THAT(tokenizer.encode("a\n \n b"), ElementsAre('a', 302, 302, 'b'));
  EXPECT_THAT(tokenizer.encode("a \t \tb"), ElementsAre('a', 303, 303, 'b'));
  EXPECT_THAT(tokenizer.encode("a \n \t b"), ElementsAre('a', ' ', 302, 303, ' ', 'b'));
  constexpr size_t kMany = 1'000'000;
  EXPECT_EQ(tokenizer.encode(std::string(kMany, '\n')), std::vector<int32_t>(kMany, 302));
  EXPECT_EQ(tokenizer.encode(std::string(kMany, '\t')), std::vector<int32_t>(kMany, 303));
}

TEST(Tokenizer, ATextThatItCannotGetThroughIsRefusedAndTheNextIsNot) {
  Json json = small_json();
  json["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "(?<!x)(a+)+[bc]"}}}, {"behavior", "Isolated"}};
  const Tokenizer splitting = make(json);
  EXPECT_THROW(splitting.encode(std::string(100, 'a')), TextRefused);
  EXPECT_EQ(splitting.encode("aab").size(), 3U);

  json = small_json();
  const Json replace = {
      {"type", "Replace"}, {"pattern", {{"Regex", "."}}}, {"content", std::string(256, 'b')}};
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {replace, replace}}};
  const Tokenizer growing = make(json);
  try {
    growing.encode(std::string(1000, 'a'));
    ADD_FAILURE() << "the text was encoded";
  } catch (const TextRefused& refused) {
    EXPECT_STREQ(refused.what(),
                 "the tokenizer's normalizer makes 129792 bytes of a text of 1000, expected at most 129536");
  }
  EXPECT_EQ(growing.encode("\n").size(), 1U);
}

TEST(Tokenizer, NormalizedTokensAreFoundAfterNormalisation) {
  Json json = with_added({{{"id", 301}, {"content", "<A>"}, {"normalized", true}},
                          {{"id", 302}, {"content", "<B>"}, {"normalized", false}}});
  json["normalizer"] = {{"type", "Lowercase"}};
  const Tokenizer tokenizer = make(json);
  EXPECT_THAT(tokenizer.encode("<a>X"), ElementsAre(301, 'x'));
  EXPECT_THAT(tokenizer.encode("<A>"), ElementsAre(301));
  EXPECT_THAT(tokenizer.encode("<B>"), ElementsAre(302));
  EXPECT_THAT(tokenizer.encode("<b>"), ElementsAre('<', 'b', '>'));
}

TEST(Tokenizer, NormalizersOfEveryKind) {
  const struct {
    Json normalizer;
    std::string text, expected;
  } cases[] = {
      {{{"type", "NFC"}}, "e\xCC\x81", "\xC3\xA9"},
      {{{"type", "NFD"}}, "\xC3\xA9", "e\xCC\x81"},
      {{{"type", "NFKC"}}, "\xEF\xAC\x81", "fi"},
      {{{"type", "NFKD"}},
       "\xC2\xBD",
       "1\xE2\x81\x84"
       "2"},
      {{{"type", "Lowercase"}}, "A\xC4\xB0\xCE\xA3", "ai\xCC\x87\xCF\x83"},
      {{{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}},
       " \xC2\xA0"
       "a ",
       "a "},
      {{{"type", "Prepend"}, {"prepend", "_"}}, "a", "_a"},
      {{{"type", "Prepend"}, {"prepend", "_"}}, "", ""},
      {{{"type", "Replace"}, {"pattern", {{"String", "."}}}, {"content", "!"}}, "a.b", "a!b"},
      {{{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}}, "a    b", "a b"},
      {{{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "Lowercase"}}}}},
       "E\xCC\x81",
       "\xC3\xA9"},
  };
  for (const auto& c : cases) {
    Json json = small_json();
    json["normalizer"] = c.normalizer;
    const Tokenizer tokenizer = make(json);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(c.text)), c.expected) << c.normalizer;
  }
}

TEST(Tokenizer, TheTemplateGoesAroundTheText) {
  Json json = small_json();
  const Json token = {{"SpecialToken", {{"id", "<|end|>"}, {"type_id", 0}}}};
  const Json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json table = {{"<|end|>", {{"id", "<|end|>"}, {"ids", {300}}, {"tokens", {"<|end|>"}}}}};
  json["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single", {token, sequence, token}},
                            {"pair", Json::array()},
                            {"special_tokens", table}};
  const Tokenizer tokenizer = make(json);
  EXPECT_THAT(tokenizer.encode("a", {.add_special_tokens = true}), ElementsAre(300, 'a', 300));
  EXPECT_THAT(tokenizer.encode("a"), ElementsAre('a'));
}

TEST(Tokenizer, OlderFilesOfMetaspaceSayWhetherTheyPrepend) {
  const std::string space = "\xE2\x96\x81";
  const auto ids = [&](const Json& said) {
    Json json = {{"model",
                  {{"type", "BPE"},
                   {"vocab", {{space, 0}, {"a", 1}, {space + "a", 2}}},
                   {"merges", Json::array({space + " a"})}}}};
    for (const char* part : {"pre_tokenizer", "decoder"}) {
      json[part] = {{"type", "Metaspace"}, {"replacement", space}};
      json[part].update(said);
    }
    const Tokenizer tokenizer = make(json);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode("a a")), "a a") << said;
    return tokenizer.encode("a a");
  };
  EXPECT_THAT(ids({{"add_prefix_space", true}, {"str_rep", space}}), ElementsAre(2, 2));
  EXPECT_THAT(ids({{"add_prefix_space", true}, {"prepend_scheme", "first"}}), ElementsAre(2, 2));
  EXPECT_THAT(ids({{"add_prefix_space", false}}), ElementsAre(1, 2));
  EXPECT_THAT(ids({{"add_prefix_space", true}, {"prepend_scheme", "never"}}), ElementsAre(1, 2));
  EXPECT_THAT(ids({{"add_prefix_space", false}, {"prepend_scheme", "always"}}), ElementsAre(1, 2));
}

// The shape of SentencePiece models that were converted: no cutting into words, bytes as a fallback.
Json sentencepiece_json() {
  Json vocab = {{"<unk>", 0},
                {"\xE2\x96\x81", 1},
                {"a", 2},
                {"\xE2\x96\x81"
                 "a",
                 3}};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    vocab[name] = 4 + byte;
  }
  return {{"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", "\xE2\x96\x81"}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}}}}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {{{"type", "Replace"}, {"pattern", {{"String", "\xE2\x96\x81"}}}, {"content", " "}},
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", {"\xE2\x96\x81 a"}}}}};
}

TEST(Tokenizer, BytesStandInForUnknownCharacters) {
  const Tokenizer tokenizer = make(sentencepiece_json());
  EXPECT_THAT(tokenizer.encode("a\n a"), ElementsAre(3, 4 + '\n', 3));
  RandomStream random(3, 0);
  for (int round = 0; round < 100; ++round) {
    const std::string text = random_text(random, random.next_below(50));
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
}

TEST(Tokenizer, UnknownCharactersFuseIfTheModelSaysSo) {
  Json json = sentencepiece_json();
  json["model"]["byte_fallback"] = false;
  EXPECT_THAT(make(json).encode("axyza"), ElementsAre(3, 0, 2));
  json["model"]["fuse_unk"] = false;
  EXPECT_THAT(make(json).encode("axya"), ElementsAre(3, 0, 0, 2));
  json["model"].erase("unk_token");
  EXPECT_THAT(make(json).encode("axya"), ElementsAre(3, 2));
}

TEST(Tokenizer, ThreadsGetTheSameIds) {
  const Tokenizer tokenizer = make(small_json());
  RandomStream random(4, 0);
  const std::string text = random_text(random, 20'000);
  const std::vector<int32_t> expected = tokenizer.encode(text);
  std::vector<std::thread> threads;
  std::vector<int> equal(4, 0);
  for (int& count : equal) {
    threads.emplace_back([&] {
      for (int round = 0; round < 5; ++round) count += tokenizer.encode(text) == expected ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(equal, ElementsAre(5, 5, 5, 5));
}

TEST(IncrementalDecoder, JoinsToTheWholeForEverySplit) {
  for (const Json& json : {small_json(), sentencepiece_json()}) {
    const Tokenizer tokenizer = make(json);
    RandomStream random(5, 0);
    for (int round = 0; round < 200; ++round) {
      // Random ids: mostly broken UTF-8, with tokens of several bytes and ids that do not exist between.
      std::vector<int32_t> ids(random.next_below(40));
      for (int32_t& id : ids) id = static_cast<int32_t>(random.next_below(305));
      for (bool skip_special : {false, true}) {
        const std::string whole = tokenizer.decode(ids, skip_special);
        ASSERT_TRUE(is_valid_utf8(whole));
        IncrementalDecoder decoder(tokenizer, skip_special);
        std::string joined;
        for (int32_t id : ids) {
          const std::string piece = decoder.push(id);
          ASSERT_TRUE(is_valid_utf8(piece));
          joined += piece;
        }
        joined += decoder.finish();
        ASSERT_EQ(joined, whole);
        ASSERT_FALSE(decoder.has_pending());
      }
    }
  }
}

TEST(IncrementalDecoder, KeepsTheSpecialTokensThatItIsTold) {
  Json json = small_json();
  json["added_tokens"].push_back({{"id", 301}, {"content", "<think>"}, {"special", true}});
  const Tokenizer tokenizer = make(json);
  const auto text_of = [&](std::vector<int32_t> kept) {
    IncrementalDecoder decoder(tokenizer, /*skip_special=*/true, std::move(kept));
    return decoder.push('a') + decoder.push(301) + decoder.push(300) + decoder.push('b') + decoder.finish();
  };
  EXPECT_EQ(text_of({}), "ab");
  EXPECT_EQ(text_of({301}), "a<think>b");
  EXPECT_EQ(text_of({301, -1, 300}), "a<think><|end|>b");
}

TEST(IncrementalDecoder, HoldsBackAnUnfinishedCharacter) {
  const Tokenizer tokenizer = make(small_json());
  IncrementalDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(0xE2), "");
  EXPECT_EQ(decoder.push(0x82), "");
  EXPECT_TRUE(decoder.has_pending());
  EXPECT_EQ(decoder.push(0xAC), "\xE2\x82\xAC");
  EXPECT_EQ(decoder.push(0xE2), "");
  EXPECT_EQ(decoder.push('x'), std::string(kReplacementCharacter) + "x");
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.finish(), kReplacementCharacter);
}

class TokenizerFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("tokenizer_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    ASSERT_TRUE(remove_tree(folder_.string()).ok());
    ASSERT_TRUE(make_directories(folder_.string()).ok());
    write("tokenizer.json", small_json().dump());
  }
  void write(const std::string& name, const std::string& content) {
    ASSERT_TRUE(write_file_atomic((folder_ / name).string(), content).ok());
  }
  std::filesystem::path folder_;
};

TEST_F(TokenizerFolder, RolesComeFromTheConfigThenFromTheMap) {
  write("tokenizer_config.json", R"({"eos_token": {"content": "<|end|>"}, "bos_token": null})");
  write("special_tokens_map.json", R"({"eos_token": "a", "pad_token": "a"})");
  for (const auto& path : {folder_, folder_ / "tokenizer.json"}) {
    const Result<Tokenizer> tokenizer = Tokenizer::load(path.string());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    EXPECT_EQ(tokenizer->special_ids().eos, 300);
    EXPECT_EQ(tokenizer->special_ids().pad, 'a');
    EXPECT_FALSE(tokenizer->special_ids().bos);
  }
}

TEST_F(TokenizerFolder, RolesThatNobodyNeedsMayBeOfNoToken) {
  write(
      "tokenizer_config.json",
      R"({"eos_token": "<|end|>", "bos_token": "", "pad_token": "<pad>", "unk_token": {"content": "<unk>"}})");
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder_.string());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->special_ids().eos, 300);
  EXPECT_FALSE(tokenizer->special_ids().bos);
  EXPECT_FALSE(tokenizer->special_ids().pad);
  EXPECT_FALSE(tokenizer->special_ids().unk);
}

TEST_F(TokenizerFolder, WithoutARoleTheModelSaysWhatEndsAText) {
  const auto end = [&] {
    const Result<Tokenizer> tokenizer = Tokenizer::load(folder_.string());
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    return tokenizer.ok() ? tokenizer->special_ids().eos : std::nullopt;
  };
  write("tokenizer_config.json", R"({"model_max_length": 1024})");
  EXPECT_EQ(end(), std::nullopt) << "<|end|> is special, but nobody says that it ends a text";
  Json json = with_added({{{"id", 301}, {"content", "<|endoftext|>"}, {"special", true}}});
  write("tokenizer.json", json.dump());
  EXPECT_EQ(end(), 301);
  write("config.json", R"({"eos_token_id": 97})");
  EXPECT_EQ(end(), 97);
  write("generation_config.json", R"({"eos_token_id": -1})");
  EXPECT_EQ(end(), 97);
  write("generation_config.json", R"({"eos_token_id": [300, 98]})");
  EXPECT_EQ(end(), 300);
  write("generation_config.json", R"({"eos_token_id": 299})");
  EXPECT_EQ(end(), 301) << "an id that is no token";
  write("tokenizer_config.json", R"({"eos_token": "b"})");
  EXPECT_EQ(end(), 'b');
  json["added_tokens"][1]["special"] = false;
  write("tokenizer.json", json.dump());
  write("tokenizer_config.json", "{}");
  EXPECT_EQ(end(), std::nullopt) << "a word of the text";
}

TEST_F(TokenizerFolder, AWrongRoleIsNamed) {
  write("tokenizer_config.json", R"({"eos_token": "<|nowhere|>"})");
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder_.string());
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_THAT(tokenizer.error().message, HasSubstr("tokenizer_config.json: eos_token is \"<|nowhere|>\""));
}

TEST(BundledTokenizer, EncodesTheBundledCorpusAndBack) {
  const Result<Tokenizer> tokenizer = Tokenizer::load(std::string(FATHOM_SOURCE_DIR) + "/data/tokenizer");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->vocab_size(), 4096);
  EXPECT_EQ(tokenizer->token_to_id("<|endoftext|>"), 0);
  EXPECT_EQ(tokenizer->special_ids().eos, 0);
  const Result<std::string> text = read_file(std::string(FATHOM_SOURCE_DIR) + "/data/corpus.valid.txt");
  ASSERT_TRUE(text.ok());
  const std::vector<int32_t> ids = tokenizer->encode(*text);
  EXPECT_EQ(tokenizer->decode(ids), *text);
  EXPECT_LT(ids.size(), text->size() / 3);
}

}  // namespace
}  // namespace fathom::text
