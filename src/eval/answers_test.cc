// What written answers say and which of them are right.
#include "eval/answers.h"

#include <gtest/gtest.h>

namespace fathom::eval {
namespace {

TEST(Answers, LastBoxedIsClosedByItsOwnBrace) {
  EXPECT_EQ(last_boxed(R"(so \boxed{1} no, \boxed{\frac{1}{2^{3}}} it is.)"), R"(\frac{1}{2^{3}})");
  EXPECT_EQ(last_boxed(R"(\boxed {7})"), "7");
  EXPECT_EQ(last_boxed(R"($\boxed 42$ and more)"), "42");
  EXPECT_EQ(last_boxed(R"(\fbox{9})"), "9");
  EXPECT_EQ(last_boxed(R"(\boxed{})"), "");
  EXPECT_EQ(last_boxed("no answer"), std::nullopt);
  EXPECT_EQ(last_boxed(R"(\boxed{1} then \boxed{2)"), std::nullopt) << "the last one was cut off";
  EXPECT_EQ(last_boxed(R"(\boxed)"), std::nullopt);
}

struct Written {
  const char* answer;
  const char* plain;
};
const Written kWritten[] = {{R"(\dfrac12)", R"(\frac{1}{2})"},
                            {R"(\frac1{72})", R"(\frac{1}{72})"},
                            {R"(\tfrac{3}{4})", R"(\frac{3}{4})"},
                            {"3/4", R"(\frac{3}{4})"},
                            {"-3/4", R"(\frac{-3}{4})"},
                            {"03/4", "03/4"},
                            {"a/b", "a/b"},
                            {"0.5", R"(\frac{1}{2})"},
                            {".5", R"(\frac{1}{2})"},
                            {"x = 5", "5"},
                            {"abc = 5", "abc=5"},
                            {R"(\sqrt3 + \sqrt{5})", R"(\sqrt{3}+\sqrt{5})"},
                            {R"(\left( 3, \frac{\pi}{2} \right))", R"((3,\frac{\pi}{2}))"},
                            {R"(90^\circ)", "90"},
                            {R"(90^{\circ})", "90"},
                            {R"(\$18.90)", "18.90"},
                            {R"(5\%)", "5"},
                            {R"(12\text{ cm}^2)", "12"},
                            {R"(\text{odd})", R"(\text{odd})"},
                            {"1\n000\\!000", "1000000"},
                            {R"(\frac)", R"(\frac)"},
                            {R"(\sqrt)", R"(\sqrt)"},
                            {"", ""}};

TEST(Answers, AreBroughtToOneWayOfWriting) {
  for (const Written& written : kWritten) EXPECT_EQ(plain_math(written.answer), written.plain);
}

TEST(Answers, EqualNumbersAreTheSame) {
  EXPECT_TRUE(same_math("0.25", R"(\frac14)"));
  EXPECT_TRUE(same_math("042", "42"));
  EXPECT_TRUE(same_math("1,234,567", "1234567"));
  EXPECT_TRUE(same_math("-2.50", "-5/2"));
  EXPECT_TRUE(same_math("7.0", "7"));
  EXPECT_FALSE(same_math("1,2", "12")) << "a pair is no number";
  EXPECT_FALSE(same_math("1", "-1"));
  EXPECT_FALSE(same_math("0.333", R"(\frac13)"));
  EXPECT_FALSE(same_math(R"(\frac{1}{0})", R"(\frac{2}{0})")) << "no number";
  EXPECT_FALSE(same_math("99999999999999999999", "99999999999999999998")) << "beyond 64 bits as text";
}

TEST(Answers, ALetterIsFoundInWhatStandsAroundIt) {
  for (const char* answer : {"B", "(B)", "B)", "B) 12 m", R"(\text{B})", R"(\textbf{(B)})", " B. twelve"})
    EXPECT_EQ(letter_of(answer), 'B') << answer;
  for (const char* answer : {"", "b", "Both", "12", "?"})
    EXPECT_EQ(letter_of(answer), std::nullopt) << answer;
}

TEST(Answers, EachRuleLooksAtItsPart) {
  EXPECT_TRUE(is_right(AnswerRule::kFirstLine, " 6851666334 \nAnna: 1", "6851666334"));
  EXPECT_FALSE(is_right(AnswerRule::kFirstLine, "6851666334 or so", "6851666334"));
  EXPECT_FALSE(is_right(AnswerRule::kFirstLine, "\n6851666334", "6851666334"));
  EXPECT_TRUE(is_right(AnswerRule::kMath, R"(\boxed{1} is wrong: \boxed{ 204 })", "204"));
  EXPECT_FALSE(is_right(AnswerRule::kMath, "204", "204")) << "nothing is boxed";
  EXPECT_TRUE(is_right(AnswerRule::kLetter, R"(\boxed{C})", "C"));
  EXPECT_FALSE(is_right(AnswerRule::kLetter, R"(\boxed{?})", "C"));
}

}  // namespace
}  // namespace fathom::eval
