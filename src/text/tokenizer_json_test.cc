// Files that are refused, and the sentences that say why.
#include "text/tokenizer_json.h"

#include <gmock/gmock.h>

#include "text/testing.h"

namespace fathom::text {
namespace {

using namespace testing;
using ::testing::HasSubstr;

TEST(TokenizerJson, RefusesWithASentenceThatNamesTheField) {
  const struct {
    const char* pointer;  // what is changed in a good file
    Json value;
    const char* message;
  } cases[] = {
      {"/model", nullptr, "model is missing"},
      {"/model", 3, "model is an integer, expected an object"},
      {"/model/type", "WordPiece", "model.type is \"WordPiece\"; supported are BPE"},
      {"/model/dropout", 0.1, "model.dropout is set, expected null"},
      {"/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix is \"</w>\", expected none"},
      {"/model/future", true, "field \"model.future\" is not known"},
      {"/model/fuse_unk", "yes", "model.fuse_unk is a string, expected true or false"},
      {"/model/unk_token", "<unk>", "model: unk_token \"<unk>\" is not in the vocabulary"},
      {"/model/vocab", Json::array(), "model.vocab is an array, expected an object"},
      {"/model/vocab", Json::object(), "model.vocab is empty"},
      {"/model/vocab/x", -1, "model.vocab gives \"x\" the id -1"},
      {"/model/vocab/x", 1e9, "model.vocab gives \"x\" the id 1000000000.0"},
      {"/model/vocab/x", 4194304, "expected an integer from 0 to 4194303"},
      {"/model/vocab/x", 5, "model.vocab: id 5 is given to both"},
      {"/model/merges/0", "a", "model.merges[0] is not two tokens"},
      {"/model/merges/0", "a b c", "model.merges[0] is not two tokens"},
      {"/model/merges/1", Json::array({"a", 1}), "model.merges[1] is not two tokens"},
      {"/model/merges/0", "a zz", "model: merge 0 (\"a\" \"zz\") needs the token \"zz\""},
      {"/model/merges/0", "a b", "needs the token \"ab\""},
      {"/added_tokens", Json::object(), "added_tokens is an object, expected an array"},
      {"/added_tokens/0/id", -2, "added_tokens[0].id is -2, expected 0 to"},
      {"/added_tokens/0/id", 7, "added_tokens[0] (\"<|end|>\") has the id 7, which is"},
      {"/added_tokens/0/content", "a", "gives \"a\" the id 300, but it is 97 in model.vocab"},
      {"/added_tokens/0/content", nullptr, "added_tokens[0].content is missing"},
      {"/added_tokens/0/colour", 1, "field \"added_tokens[0].colour\" is not known"},
      {"/added_tokens/1",
       {{"id", 301}, {"content", "<|end|>"}},
       "added_tokens[1] (\"<|end|>\", id 301) was added"},
      {"/normalizer", {{"type", "Nmt"}}, "normalizer.type is \"Nmt\"; supported are NFC"},
      {"/normalizer",
       {{"type", "Sequence"}, {"normalizers", {{{"type", "Precompiled"}}}}},
       "normalizer.normalizers[0].type is \"Precompiled\""},
      {"/normalizer",
       {{"type", "Replace"}, {"pattern", {{"Regex", "("}}}, {"content", ""}},
       "normalizer.pattern: pattern \"(\" does not compile"},
      {"/pre_tokenizer",
       {{"type", "BertPreTokenizer"}},
       "pre_tokenizer.type is \"BertPreTokenizer\"; supported"},
      {"/pre_tokenizer/add_prefix_space", 1,
       "pre_tokenizer.add_prefix_space is an integer, expected true or false"},
      {"/pre_tokenizer/surprise", 1, "field \"pre_tokenizer.surprise\" is not known"},
      {"/pre_tokenizer",
       {{"type", "Split"}, {"pattern", {{"String", ""}}}, {"behavior", "Isolated"}},
       "pre_tokenizer.pattern is empty"},
      {"/pre_tokenizer",
       {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Kept"}},
       "pre_tokenizer.behavior is \"Kept\"; supported are Removed"},
      {"/decoder", {{"type", "WordPiece"}}, "decoder.type is \"WordPiece\"; supported are ByteLevel"},
      {"/decoder", {{"type", "Strip"}, {"content", " "}, {"start", 1}}, "decoder is a Strip other than"},
      {"/post_processor",
       {{"type", "BertProcessing"}},
       "post_processor.type is \"BertProcessing\"; supported are"},
      {"/post_processor", {{"type", "TemplateProcessing"}, {"single", Json::array()}}, "has no Sequence"},
      {"/post_processor",
       {{"type", "TemplateProcessing"},
        {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
        {"special_tokens", {{"<s>", {{"ids", {299}}}}}}},
       "post_processor adds the id 299, which is no token"},
      {"/extra", 1, "field \"extra\" is not known"},
  };
  for (const auto& c : cases) {
    Json json = small_json();
    json[Json::json_pointer(c.pointer)] = c.value;
    const Result<TokenizerParts> parts = read_tokenizer_json(json.dump());
    ASSERT_FALSE(parts.ok()) << c.pointer << " " << c.message;
    EXPECT_THAT(parts.error().message, HasSubstr(c.message)) << c.pointer;
  }
}

TEST(TokenizerJson, RefusesWhatIsNotJson) {
  const std::string good = small_json().dump();
  for (const std::string& text : {std::string(), std::string("nonsense"), good.substr(0, good.size() / 2),
                                  std::string("{\"a\": \"\xFF\"}"), std::string(100'000, '[')}) {
    const Result<TokenizerParts> parts = read_tokenizer_json(text);
    ASSERT_FALSE(parts.ok());
    EXPECT_THAT(parts.error().message, HasSubstr("not JSON"));
  }
  EXPECT_EQ(read_tokenizer_json("[]").error().message, "the file is an array, expected an object");
}

TEST(TokenizerJson, RefusesDeepSequences) {
  Json nested = {{"type", "NFC"}};
  for (int i = 0; i < 1000; ++i) nested = {{"type", "Sequence"}, {"normalizers", Json::array({nested})}};
  Json json = small_json();
  json["normalizer"] = nested;
  const Result<TokenizerParts> parts = read_tokenizer_json(json.dump());
  ASSERT_FALSE(parts.ok());
  EXPECT_THAT(parts.error().message, HasSubstr("nested more than 8 deep"));
}

TEST(TokenizerJson, IgnoresTruncationAndPadding) {
  Json json = small_json();
  json["truncation"] = {{"max_length", 1}};
  json["padding"] = {{"pad_id", 0}};
  EXPECT_EQ(make(json).encode("abc").size(), 3U);
}

TEST(TokenizerJson, UnsupportedKindsAreToldFromBrokenFiles) {
  Json json = small_json();
  json["model"]["type"] = "Unigram";
  EXPECT_EQ(read_tokenizer_json(json.dump()).error().kind, ErrorKind::kNotSupported);
  EXPECT_EQ(read_tokenizer_json("{").error().kind, ErrorKind::kInvalid);
}

}  // namespace
}  // namespace fathom::text
