// Strict JSON: what is refused, with the sentence and the place.
#include "base/json.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

using namespace std::string_literals;

TEST(Json, AcceptsEveryKindOfValue) {
  const auto value =
      parse_json(" \t\r\n{\"a\": [1, -2, 3.5, true, false, null], \"b\": {\"c\": \"\\u00e9\"}}\n ");
  ASSERT_TRUE(value.ok()) << value.error().message;
  EXPECT_EQ(value->dump(), "{\"a\":[1,-2,3.5,true,false,null],\"b\":{\"c\":\"\xc3\xa9\"}}");
  EXPECT_EQ(parse_json("18446744073709551615")->get<uint64_t>(), UINT64_MAX);
}

TEST(Json, NestedContainersKeepTheirPlaces) {
  const auto value = parse_json("[[[1],[2,[3]]],{\"x\":[{\"y\":[]}]},4]");
  ASSERT_TRUE(value.ok()) << value.error().message;
  EXPECT_EQ(value->dump(), "[[[1],[2,[3]]],{\"x\":[{\"y\":[]}]},4]");
}

TEST(Json, RefusesWithTheSentenceAndThePlace) {
  struct Case {
    std::string text;
    std::string message;
  };
  const Case cases[] = {
      {"",
       "line 1, column 1: syntax error while parsing value - unexpected end of input; expected '[', '{', or "
       "a "
       "literal"},
      {"{\"a\": 1,\n \"a\": 2}", "line 2, column 4: duplicate key \"a\""},
      {"{\"a\":{\"b\":1,\"b\":2}}", "line 1, column 15: duplicate key \"b\""},
      {"[1,]",
       "line 1, column 4: syntax error while parsing value - unexpected ']'; expected '[', '{', or a "
       "literal"},
      {"{} x", "line 1, column 4: syntax error while parsing value - invalid literal; expected end of input"},
      {"\xef\xbb\xbf{}", "line 1, column 1: a byte order mark is not JSON"},
      {"{}\0junk"s, "line 1, column 3: a zero byte is not JSON"},
      {"[\"\xff\"]",
       "line 1, column 3: syntax error while parsing value - invalid string: ill-formed UTF-8 byte"},
      {"[1e999]", "number overflow parsing '1e999'"},
      {"{\"a\" 1}",
       "line 1, column 6: syntax error while parsing object separator - unexpected number literal; "
       "expected ':'"},
  };
  for (const Case& c : cases) {
    const auto value = parse_json(c.text);
    ASSERT_FALSE(value.ok()) << c.text;
    EXPECT_NE(value.error().message.find(c.message), std::string::npos)
        << value.error().message << "\nwanted " << c.message;
  }
}

TEST(Json, MembersThatAreAskedForGoElsewhere) {
  std::vector<std::string> taken;
  const auto note = [&](std::string& key, nlohmann::json& value) {
    taken.push_back(key + "=" + value.dump());
  };
  const std::vector<JsonMembers> members = {{{"a", "b"}, note}, {{"list"}, note}};
  const auto value = parse_json(
      R"({"b":{"stays":1},"a":{"x":2,"b":{"k":1,"l":{"b":[3]},"k":null},"y":[{"b":{"z":4}}]},"list":[[5,6],{},7]})",
      {}, members);
  ASSERT_TRUE(value.ok()) << value.error().message;
  EXPECT_EQ(value->dump(), R"({"a":{"b":{},"x":2,"y":[{"b":{"z":4}}]},"b":{"stays":1},"list":[]})");
  EXPECT_EQ(taken, (std::vector<std::string>{"k=1", "l={\"b\":[3]}", "k=null", "=[5,6]", "={}", "=7"}));

  // Where something else lies there, it stays; limits hold for what goes as for what stays.
  taken.clear();
  EXPECT_EQ(parse_json(R"({"a":[{"b":[1]}],"list":2})", {}, members)->dump(),
            R"({"a":[{"b":[1]}],"list":2})");
  EXPECT_TRUE(taken.empty());
  EXPECT_EQ(parse_json(R"({"list":[1,2,3]})", {.max_values = 4}, members).error().message,
            "line 1, column 15: more than the limit of 4 values");
  EXPECT_FALSE(parse_json(R"({"list":[[[1]]]})", {.max_depth = 3}, members).ok());
  EXPECT_FALSE(parse_json(R"({"list":[1,)", {}, members).ok());
}

TEST(Json, LimitsHold) {
  JsonLimits limits;
  limits.max_bytes = 20;
  limits.max_depth = 3;
  limits.max_values = 5;
  EXPECT_TRUE(parse_json("[[[1]]]", limits).ok());
  EXPECT_EQ(parse_json("[[[[1]]]]", limits).error().message,
            "line 1, column 4: nested deeper than the limit of 3");
  EXPECT_TRUE(parse_json("[1,2,3,4]", limits).ok());
  EXPECT_EQ(parse_json("[1,2,3,4,5]", limits).error().message,
            "line 1, column 11: more than the limit of 5 values");
  EXPECT_EQ(parse_json("[                         ]", limits).error().message,
            "JSON of 27 bytes exceeds the limit of 20");
  // A million open brackets neither overflow a stack nor take memory.
  EXPECT_FALSE(parse_json(std::string(1'000'000, '[')).ok());
}

}  // namespace
}  // namespace fathom
