#include "cli/flag_checks.h"

#include <gtest/gtest.h>

namespace fathom::cli {
namespace {

// Empty where the text passes, else the sentence.
std::string check(const CLI::Validator& validator, std::string text) { return validator(text); }

TEST(FlagChecks, WholeNumbersAreReadWhole) {
  EXPECT_EQ(check(whole_number(1), "1"), "");
  EXPECT_EQ(check(whole_number(-1, 5), "-1"), "");
  EXPECT_EQ(check(whole_number(0), "9223372036854775807"), "");
  EXPECT_EQ(check(whole_number(0), "9223372036854775808"),
            "'9223372036854775808' is not a whole number of at least 0 and below 2^63");
  EXPECT_EQ(check(whole_number(0), "100000000000000000000"),
            "'100000000000000000000' is not a whole number of at least 0 and below 2^63");
  EXPECT_EQ(check(whole_number(1, 8), "9"), "'9' is not a whole number of 1 to 8");
  for (const char* text : {"", "x", "1.5", "1x", " 1", "nan", "1e3"})
    EXPECT_NE(check(whole_number(0), text), "") << text;
  EXPECT_EQ(whole_number(0).get_description(), ">= 0");
}

TEST(FlagChecks, SeedsHaveAll64Bits) {
  EXPECT_EQ(check(seed_number(), "0"), "");
  EXPECT_EQ(check(seed_number(), "18446744073709551615"), "");
  for (const std::string text : {"18446744073709551616", "-1", "1.5", ""})
    EXPECT_EQ(check(seed_number(), text),
              "'" + text + "' is not a whole number of at least 0 and below 2^64");
}

TEST(FlagChecks, NumbersAreFiniteAndInRange) {
  EXPECT_EQ(check(between(0, 1), "0.5"), "");
  EXPECT_EQ(check(between(0, 1), "1"), "");
  EXPECT_EQ(check(between(0, 1), "nan"), "'nan' is not a number of 0 to 1");
  EXPECT_NE(check(between(0, 1), "1.01"), "");
  EXPECT_EQ(check(at_least(0), "1e3"), "");
  EXPECT_EQ(check(at_least(0), "inf"), "'inf' is not a finite number of at least 0");
  EXPECT_EQ(check(at_least(1), "1e400"), "'1e400' is not a finite number of at least 1");
  EXPECT_EQ(check(above(0), "0"), "'0' is not a finite number above 0");
  EXPECT_EQ(check(above(0), "inf"), "'inf' is not a finite number above 0");
  for (const char* text : {"", "x", "1x", "-1", "-inf", "nan"})
    EXPECT_NE(check(at_least(0), text), "") << text;
}

TEST(FlagChecks, TextsAreNotEmpty) {
  EXPECT_EQ(check(not_empty(), " "), "");
  EXPECT_EQ(check(not_empty(), ""), "an empty text");
}

TEST(FlagChecks, ThreadsHaveABound) {
  EXPECT_EQ(check(thread_count(), "0"), "");
  EXPECT_EQ(check(thread_count(), "4097"), "'4097' is not a whole number of 0 to 4096");
}

}  // namespace
}  // namespace fathom::cli
