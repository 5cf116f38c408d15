// Corrupted tokenizer.json files, and the files beside it.
#include "faults/faults.h"
#include "faults/temporary_folder.h"
#include "text/testing.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace fathom::faults {
namespace {

using text::testing::small_json;
using Json = nlohmann::json;

std::string read(const std::string& file) { return answer(text::Tokenizer::from_json(file)); }

std::string changed(const char* pointer, const Json& value) {
  Json json = small_json();
  json[Json::json_pointer(pointer)] = value;
  return json.dump();
}
std::string without(const char* pointer) {
  const Json::json_pointer place(pointer);
  Json json = small_json();
  json[place.parent_pointer()].erase(place.back());
  return json.dump();
}
Json nested(const Json& innermost, const char* list, int times) {
  Json json = innermost;
  for (int i = 0; i < times; ++i) json = {{"type", "Sequence"}, {list, Json::array({json})}};
  return json;
}

// The file as text: what no JSON value can say.
std::vector<Fault> faults_of_text() {
  const std::string good = small_json().dump();
  const std::string cut = good.substr(0, good.size() / 2);
  return {
      {"an empty file", "",
       "line 1, column 1: syntax error while parsing value - unexpected end of input; expected '[', '{', or "
       "a literal"},
      {"a text file", "once upon a time",
       "line 1, column 1: syntax error while parsing value - invalid literal"},
      {"cut in the middle", cut,
       "line 1, column " + std::to_string(cut.size() + 1) +
           ": syntax error while parsing object - unexpected end of input; expected '}'"},
      {"the last brace missing", good.substr(0, good.size() - 1),
       "line 1, column 2428: syntax error while parsing object - unexpected end of input; expected '}'"},
      {"something after the end", good + "x",
       "line 1, column 2429: syntax error while parsing value - invalid literal; expected end of input"},
      {"an array", "[]", "the file is an array, expected an object"},
      {"null", "null", "the file is null, expected an object"},
      {"a token that is not UTF-8", with(good, "\"a\":97", "\"\xff\":97"),
       "line 1, column 658: syntax error while parsing object key - invalid string: ill-formed UTF-8 byte; "
       "expected string literal"},
      {"half of a surrogate pair", with(good, "\"a\":97", "\"\\ud800\":97"),
       "line 1, column 664: syntax error while parsing object key - invalid string: surrogate U+D800..U+DBFF "
       "must be followed by U+DC00..U+DFFF; expected string literal"},
      {"a token twice", with(good, "\"a\":97", "\"a\":97,\"a\":97"),
       "model.vocab: token \"a\" is given twice"},
      {"two models", with(good, "\"model\":", "\"model\":{},\"model\":"),
       "line 1, column 138: duplicate key \"model\""},
      {"a byte order mark", "\xef\xbb\xbf" + good, "line 1, column 1: a byte order mark is not JSON"},
      {"a zero byte", good + std::string(1, '\0'),
       "line 1, column " + std::to_string(good.size() + 1) + ": a zero byte is not JSON"},
      {"nested deeply", repeated("[", 100000), "line 1, column 33: nested deeper than the limit of 32"},
      {"an id beyond all numbers", with(good, "\"a\":97", "\"a\":1e999"),
       "line 1, column 665: number overflow parsing '1e999'"},
  };
}

std::vector<Fault> faults_of_model() {
  const std::string affix = std::string(16385, 'x');
  return {
      {"another version", changed("/version", "2.0"), "version is \"2.0\", expected \"1.0\""},
      {"a version that is a number", changed("/version", 1), "version is an integer, expected a string"},
      {"no model", without("/model"), "model is missing"},
      {"a model that is a number", changed("/model", 3), "model is an integer, expected an object"},
      {"another model", changed("/model/type", "WordPiece"),
       "model.type is \"WordPiece\"; supported are BPE"},
      {"dropout", changed("/model/dropout", 0.1), "model.dropout is set, expected null"},
      {"an affix", changed("/model/end_of_word_suffix", "</w>"),
       "model.end_of_word_suffix is \"</w>\", expected none"},
      {"an unknown field", changed("/model/future", true), "field \"model.future\" is not known"},
      {"a flag in quotes", changed("/model/fuse_unk", "yes"),
       "model.fuse_unk is a string, expected true or false"},
      {"an unk_token that is none", changed("/model/unk_token", "<unk>"),
       "model: unk_token \"<unk>\" is not in the vocabulary"},
      {"no vocabulary", without("/model/vocab"), "model.vocab is missing"},
      {"a vocabulary that is a list", changed("/model/vocab", Json::array()),
       "model.vocab is an array, expected an object"},
      {"an empty vocabulary", changed("/model/vocab", Json::object()), "model.vocab is empty"},
      {"a negative id", changed("/model/vocab/x", -1),
       "model.vocab gives \"x\" the id -1, expected an integer from 0 to 4194303"},
      {"a fractional id", changed("/model/vocab/x", 1.5),
       "model.vocab gives \"x\" the id 1.5, expected an integer from 0 to 4194303"},
      {"an id in quotes", changed("/model/vocab/x", "7"),
       "model.vocab gives \"x\" the id \"7\", expected an integer from 0 to 4194303"},
      {"an id of 2^22", changed("/model/vocab/x", 4194304),
       "model.vocab gives \"x\" the id 4194304, expected an integer from 0 to 4194303"},
      {"an id of 2^64 - 1", changed("/model/vocab/x", UINT64_MAX),
       "model.vocab gives \"x\" the id 18446744073709551615, expected an integer from 0 to 4194303"},
      {"a huge gap", changed("/model/vocab/zzz", 4194303),
       "model.vocab has the id 4194303 among 261 tokens, expected at most 67624"},
      {"an id twice", changed("/model/vocab/x", 5), "model.vocab: id 5 is given to both \"x\" and \"ą\""},
      {"a token of 16385 bytes", changed(("/model/vocab/" + affix).c_str(), 260),
       "model.vocab has a token of 16385 bytes, expected at most 16384"},
      {"no merges", without("/model/merges"), "model.merges is missing"},
      {"merges that are an object", changed("/model/merges", Json::object()),
       "model.merges is an object, expected an array"},
      {"a merge of one token", changed("/model/merges/0", "a"),
       "model.merges[0] is not two tokens: \"a b\" or [\"a\", \"b\"]"},
      {"a merge of three tokens", changed("/model/merges/0", "a b c"),
       "model.merges[0] is not two tokens: \"a b\" or [\"a\", \"b\"]"},
      {"a merge with a number", changed("/model/merges/1", Json::array({"a", 1})),
       "model.merges[1] is not two tokens: \"a b\" or [\"a\", \"b\"]"},
      {"a merge of ids", changed("/model/merges/1", 7),
       "model.merges[1] is not two tokens: \"a b\" or [\"a\", \"b\"]"},
      {"a merge of an unknown token", changed("/model/merges/0", "a zz"),
       "model: merge 0 (\"a\" \"zz\") needs the token \"zz\", which is not in the vocabulary"},
      {"a merge into an unknown token", changed("/model/merges/0", "a b"),
       "model: merge 0 (\"a\" \"b\") needs the token \"ab\", which is not in the vocabulary"},
      {"a merge with an empty token", changed("/model/merges/0", " a"),
       "model: merge 0 (\"\" \"a\") needs the token \"\", which is not in the vocabulary"},
      {"a token removed that merges need", without("/model/vocab/he"),
       "model: merge 1 (\"h\" \"e\") needs the token \"he\", which is not in the vocabulary"},
      {"added tokens that are an object", changed("/added_tokens", Json::object()),
       "added_tokens is an object, expected an array"},
      {"an added token that is a string", changed("/added_tokens/0", "<|end|>"),
       "added_tokens[0] is a string, expected an object"},
      {"an added token without id", without("/added_tokens/0/id"), "added_tokens[0].id is missing"},
      {"a negative id of an added token", changed("/added_tokens/0/id", -2),
       "added_tokens[0].id is -2, expected 0 to 4194303"},
      {"an added token far away", changed("/added_tokens/0/id", 4194303),
       "added_tokens has the id 4194303 among 261 tokens, expected at most 67624"},
      {"an id of the vocabulary", changed("/added_tokens/0/id", 7),
       "added_tokens[0] (\"<|end|>\") has the id 7, which is \"ć\" in model.vocab"},
      {"a token of the vocabulary with another id", changed("/added_tokens/0/content", "a"),
       "added_tokens[0] gives \"a\" the id 300, but it is 97 in model.vocab"},
      {"an added token without text", changed("/added_tokens/0/content", ""),
       "added_tokens[0].content is empty, expected text"},
      {"an added token that is no text", changed("/added_tokens/0/content", nullptr),
       "added_tokens[0].content is missing"},
      {"a flag that is a number", changed("/added_tokens/0/special", 1),
       "added_tokens[0].special is an integer, expected true or false"},
      {"an unknown field of an added token", changed("/added_tokens/0/colour", 1),
       "field \"added_tokens[0].colour\" is not known"},
      {"an added token twice", changed("/added_tokens/1", {{"id", 301}, {"content", "<|end|>"}}),
       "added_tokens[1] (\"<|end|>\", id 301) was added before"},
      {"an added id twice", changed("/added_tokens/1", {{"id", 300}, {"content", "<|begin|>"}}),
       "added_tokens[1] (\"<|begin|>\", id 300) was added before"},
      {"a field outside", changed("/extra", 1), "field \"extra\" is not known"},
  };
}

std::vector<Fault> faults_of_components() {
  const auto many = [](const char* list, const Json& one) {
    return Json{{"type", "Sequence"}, {list, std::vector<Json>(65, one)}};
  };
  const Json dropped = {{"type", "Replace"}, {"pattern", {{"String", "x"}}}, {"content", ""}};
  const Json split = {{"type", "Split"}, {"pattern", {{"Regex", "^"}}}, {"behavior", "Isolated"}};
  const Json replace = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", repeated("b", 16)}};
  const auto byte_levels = Json::array({{{"type", "ByteLevel"}}, {{"type", "ByteLevel"}}});
  const Json sequence = {{"Sequence", {{"id", "A"}}}}, special = {{"SpecialToken", {{"id", "<s>"}}}};
  const auto processing = [](const Json& single, const Json& ids) {
    return changed(
        "/post_processor",
        {{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", {{"<s>", {{"ids", ids}}}}}});
  };
  const std::vector<int> ids(400, 0), more_ids(600, 0);
  const Json around = {{"type", "TemplateProcessing"},
                       {"single", Json::array({special, sequence})},
                       {"special_tokens", {{"<s>", {{"ids", more_ids}}}}}};
  Json slow = small_json();
  slow["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "(a+)+[bc]"}}}, {"content", ""}};
  slow["added_tokens"].push_back({{"id", 301}, {"content", std::string(40, 'a')}});
  return {
      {"65 normalizers", changed("/normalizer", many("normalizers", {{"type", "NFC"}})),
       "normalizer.normalizers[64] is a step beyond the limit of 64"},
      {"65 pre-tokenizers", changed("/pre_tokenizer", many("pretokenizers", split)),
       "pre_tokenizer.pretokenizers[64] is a step beyond the limit of 64"},
      {"65 replacements of a decoder", changed("/decoder", many("decoders", dropped)),
       "decoder.decoders[64] is a step beyond the limit of 64"},
      {"a template that names a long list thrice",
       processing(Json::array({special, sequence, special, special}), ids),
       "post_processor.single[3] puts more than 1024 ids around a text"},
      {"templates around templates",
       changed("/post_processor", {{"type", "Sequence"}, {"processors", Json::array({around, around})}}),
       "post_processor.processors[1] puts more than 1024 ids around a text"},
      {"an added token that cannot be normalised", slow.dump(),
       "added_tokens: the tokenizer's pattern \"(a+)+[bc]\" takes more than the 4206336 steps that a text of "
       "47 bytes may take"},
      {"an unknown normalizer", changed("/normalizer", {{"type", "Nmt"}}),
       "normalizer.type is \"Nmt\"; supported are NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend, Strip "
       "and "
       "Sequence"},
      {"an unknown normalizer in a sequence",
       changed("/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "Precompiled"}}}}}),
       "normalizer.normalizers[0].type is \"Precompiled\"; supported are NFC, NFD, NFKC, NFKD, Lowercase, "
       "Replace, "
       "Prepend, Strip and Sequence"},
      {"normalizers nested deeply", changed("/normalizer", nested({{"type", "NFC"}}, "normalizers", 12)),
       "normalizer.normalizers[0].normalizers[0].normalizers[0].normalizers[0].normalizers[0].normalizers[0]."
       "normalizers[0].normalizers[0] is nested more than 8 deep"},
      {"a pattern that does not compile",
       changed("/normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", "("}}}, {"content", ""}}),
       "normalizer.pattern: pattern \"(\" does not compile: missing closing parenthesis"},
      {"a replacement of a megabyte",
       changed("/normalizer",
               {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(1 << 20, 'b')}}),
       "normalizer.content has 1048576 bytes, expected at most 256"},
      {"a normalizer that is a list", changed("/normalizer", Json::array()),
       "normalizer is an array, expected an object"},
      {"an unknown pre-tokenizer", changed("/pre_tokenizer", {{"type", "BertPreTokenizer"}}),
       "pre_tokenizer.type is \"BertPreTokenizer\"; supported are Sequence, Split, ByteLevel, Digits, "
       "Punctuation, "
       "Whitespace, WhitespaceSplit and Metaspace"},
      {"a flag of the pre-tokenizer that is a number", changed("/pre_tokenizer/add_prefix_space", 1),
       "pre_tokenizer.add_prefix_space is an integer, expected true or false"},
      {"an unknown field of the pre-tokenizer", changed("/pre_tokenizer/surprise", 1),
       "field \"pre_tokenizer.surprise\" is not known"},
      {"an empty pattern",
       changed("/pre_tokenizer",
               {{"type", "Split"}, {"pattern", {{"String", ""}}}, {"behavior", "Isolated"}}),
       "pre_tokenizer.pattern is empty"},
      {"two patterns",
       changed("/pre_tokenizer",
               {{"type", "Split"}, {"pattern", {{"String", "a"}, {"Regex", "b"}}}, {"behavior", "Isolated"}}),
       "field \"pre_tokenizer.pattern.Regex\" is not known"},
      {"an unknown behaviour",
       changed("/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Kept"}}),
       "pre_tokenizer.behavior is \"Kept\"; supported are Removed, Isolated, MergedWithPrevious, "
       "MergedWithNext and "
       "Contiguous"},
      {"bytes mapped twice",
       changed("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", byte_levels}}),
       "pre_tokenizer has more than one ByteLevel"},
      {"a space character of two characters",
       changed("/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "__"}}),
       "pre_tokenizer.replacement is \"__\", expected one character"},
      {"no space character", changed("/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", ""}}),
       "pre_tokenizer.replacement is \"\", expected one character"},
      {"an unknown decoder", changed("/decoder", {{"type", "WordPiece"}}),
       "decoder.type is \"WordPiece\"; supported are ByteLevel, Metaspace, Replace, ByteFallback, Fuse, "
       "Strip and "
       "Sequence"},
      {"a strip of single tokens", changed("/decoder", {{"type", "Strip"}, {"content", " "}, {"start", 1}}),
       "decoder is a Strip other than of a number of characters at the start, after Fuse"},
      {"decoders that multiply",
       changed("/decoder", {{"type", "Sequence"}, {"decoders", Json::array({replace, replace})}}),
       "decoder makes tokens more than 64 times as long"},
      {"an unknown post-processor", changed("/post_processor", {{"type", "BertProcessing"}}),
       "post_processor.type is \"BertProcessing\"; supported are ByteLevel, TemplateProcessing and Sequence"},
      {"a template that drops the text", processing(Json::array({special}), {0}),
       "post_processor.single has no Sequence, so it would drop the text"},
      {"a template with the text twice", processing(Json::array({sequence, sequence}), {0}),
       "post_processor.single[1] is a second Sequence, expected one"},
      {"a template of a token that is none", processing(Json::array({special, sequence}), {299}),
       "post_processor adds the id 299, which is no token"},
      {"a template of a negative id", processing(Json::array({special, sequence}), {-1}),
       "post_processor.special_tokens.<s>.ids holds -1, expected ids from 0 to 4194303"},
      {"a template of an unlisted token",
       processing(Json::array({{{"SpecialToken", {{"id", "</s>"}}}}, sequence}), {0}),
       "post_processor.special_tokens.</s> is missing"},
  };
}

TEST(TokenizerFaults, EachIsRefusedWithItsSentence) {
  std::vector<Fault> faults = faults_of_text();
  for (const auto& more : {faults_of_model(), faults_of_components()})
    faults.insert(faults.end(), more.begin(), more.end());
  expect_refusals(small_json().dump(), faults, read, 60);
}

TEST(TokenizerFaults, EveryTruncationIsRefused) {
  const std::string good = small_json().dump();
  for (size_t length = 0; length < good.size(); length += 7)
    EXPECT_NE(read(good.substr(0, length)), "accepted") << length;
}

// Gaps between ids are legal: their ids are no tokens.
TEST(TokenizerFaults, GapsAreNoTokens) {
  const text::Tokenizer tokenizer = text::testing::make(small_json());
  EXPECT_EQ(tokenizer.vocab_size(), 301);
  EXPECT_EQ(tokenizer.id_to_token(280), std::nullopt);
  const int32_t ids[] = {97, 280, 98, -1, 301, INT32_MAX};
  EXPECT_EQ(tokenizer.decode(ids), "ab");
}

TEST(TokenizerFaults, OfTheFilesBesideIt) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", small_json().dump());
  const std::pair<const char*, const char*> rows[] = {
      {"[]", "is an array, expected an object"},
      {"{\"bos_token\": 3}", "bos_token is 3, expected a token"},
      {"{\"bos_token\": {\"id\": 3}}", "bos_token is {\"id\":3}, expected a token"},
      {"{\"eos_token\": \"<|absent|>\"}", "eos_token is \"<|absent|>\", which tokenizer.json does not have"},
      {"{\"bos_token\": \"<|absent|>\"}", "bos_token is \"<|absent|>\", which tokenizer.json does not have"},
      {"{\"pad_token\": 3}", "pad_token is 3, expected a token"},
      {"{\"eos_token\": \"a\", \"eos_token\": \"b\"}", "line 1, column 30: duplicate key \"eos_token\""},
  };
  const std::string path = folder.path() + "/tokenizer_config.json";
  for (const auto& [config, sentence] : rows) {
    folder.write("tokenizer_config.json", config);
    EXPECT_EQ(answer(text::Tokenizer::load(folder.path())), path + ": " + sentence);
  }
  folder.write("tokenizer_config.json", "{\"eos_token\": {\"content\": \"<|end|>\"}}");
  EXPECT_EQ(answer(text::Tokenizer::load(folder.path())), "accepted");
}

TEST(TokenizerFaults, OfTheOlderFiles) {
  const TemporaryFolder folder;
  Json vocab = Json::object();
  for (const char* token : {"a", "b", "c", "ab", "abc"}) vocab[token] = vocab.size();
  folder.write("vocab.json", vocab.dump());
  const std::string path = folder.path() + "/merges.txt";
  const std::pair<std::string, std::string> rows[] = {
      {"#version: 0.2\na b\nab c\n", "accepted"},
      {"#version: 0.2\na b\nab \xff\n", path + ": line 3 is not UTF-8"},
      {"#version: \xc3\na b\n", path + ": line 1 is not UTF-8"},
      {"a b\r\n\r\nab \xe2\x82", path + ": line 3 is not UTF-8"},
  };
  for (const auto& [merges, sentence] : rows) {
    folder.write("merges.txt", merges);
    EXPECT_EQ(answer(text::Tokenizer::load(folder.path())), sentence);
  }
}

}  // namespace
}  // namespace fathom::faults
