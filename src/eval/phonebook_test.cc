// Prompts are the published ones to the byte; lengths, seeds and measurements follow their formulas.
#include "eval/phonebook.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "eval/census_names.h"
#include "io/crc32c.h"

namespace fathom::eval {
namespace {

PhonebookItem drawn(uint64_t seed, PhonebookMode mode, int64_t entries) {
  PythonRandom random(seed);
  return draw_phonebook_item(entries, mode, random);
}

const std::string kEntries =
    "Felisha Vazquez: 6181590830\nFrank Jackson: 6860913909\nLinda Ellis: 7462819482\n"
    "Brandon Wilbanks: 8181909378\nBridget Frye: 9543231948\nEliza Wellington: 8911862527\n"
    "Patricia Andres: 8559797114\nDora Anderson: 8974650752";
const std::string kExamples = "\n\nFrank Jackson: 6860913909\nBrandon Wilbanks: 8181909378\n\n";

// The prompts that the published script makes from seed 7.
TEST(Phonebook, PromptsAreThePublishedOnes) {
  const std::string sentence = "Please find the number of Felisha Vazquez.\n";
  const std::string plain = kEntries + kExamples + "Felisha Vazquez:";
  EXPECT_EQ(drawn(7, PhonebookMode::kDefault, 8).prompt, plain);
  EXPECT_EQ(drawn(7, PhonebookMode::kDefault, 8).label, "6181590830");
  EXPECT_EQ(drawn(7, PhonebookMode::kVerbose, 8).prompt, sentence + plain);
  EXPECT_EQ(drawn(7, PhonebookMode::kInterleaved, 8).prompt, sentence + plain);
  EXPECT_EQ(drawn(7, PhonebookMode::kTwice, 8).prompt, kEntries + "\nFelisha Vazquez:\n" + plain);
}

TEST(Phonebook, TheQuestionStandsBeforeEveryBlock) {
  for (const auto& [entries, blocks] : {std::pair{3, 1}, {20, 1}, {21, 2}, {40, 2}, {41, 3}}) {
    const std::string prompt = drawn(1, PhonebookMode::kInterleaved, entries).prompt;
    const std::string sentence = prompt.substr(0, prompt.find('\n') + 1);
    int found = 0;
    for (size_t at = 0; at != std::string::npos; at = prompt.find(sentence, at + 1), ++found) {
      const auto lines = std::count(prompt.begin(), prompt.begin() + static_cast<int64_t>(at), '\n');
      EXPECT_EQ(lines, found * (kPhonebookBlock + 1)) << entries;
    }
    EXPECT_EQ(found, blocks) << entries;
  }
}

TEST(Phonebook, TheNumberThatIsAskedForStandsInTheBook) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    for (const int64_t entries : {3, 21, 22, 300}) {
      const PhonebookItem item = drawn(seed, PhonebookMode::kDefault, entries);
      const std::string name = item.prompt.substr(item.prompt.rfind('\n') + 1);
      EXPECT_NE(item.prompt.find(name + " " + item.label + "\n"), std::string::npos);
      EXPECT_EQ(item.label.size(), 10U);
      EXPECT_GE(item.label[0], '6');
      EXPECT_EQ(std::ranges::count(item.prompt, '\n'), entries + 4);
    }
  }
}

// CRC-32C of what the Python package names 0.3.0 and Python's generator give for the same draws.
TEST(Phonebook, PromptsOfManySeedsAreThoseOfPython) {
  std::string all;
  for (uint64_t seed = 0; seed < 200; ++seed) all += drawn(seed, PhonebookMode::kDefault, 60).prompt + "\n";
  EXPECT_EQ(crc32c(all), 0xb9155788U);
}

TEST(Phonebook, LengthsFollowThePublishedFormula) {
  const auto lengths = [](int64_t least, int64_t most, int64_t count) {
    return *phonebook_lengths({.min_entries = least, .max_entries = most, .lengths = count});
  };
  EXPECT_EQ(lengths(480, 480, 48), (std::vector<int64_t>{480}));
  EXPECT_EQ(lengths(20, 2048, 3), (std::vector<int64_t>{20, 697, 1374}));
  EXPECT_EQ(lengths(20, 2048, 100).size(), 97U);  // a step of 21
  EXPECT_EQ(lengths(3, 6, 4), (std::vector<int64_t>{3, 4, 5, 6}));
}

TEST(Phonebook, SeedsAreNumbersWrittenBehindEachOther) {
  EXPECT_EQ(*phonebook_seed(42, 0, 480, 0), 4204800U);
  EXPECT_EQ(*phonebook_seed(0, 3, 20, 11), 32011U);
  const Result<uint64_t> long_seed = phonebook_seed(UINT64_MAX, 0, 480, 0);
  ASSERT_FALSE(long_seed.ok());
  EXPECT_EQ(long_seed.error().message,
            "phonebook: the seed of a batch would be 1844674407370955161504800, expected less than 2^64: the "
            "seed 18446744073709551615 is too long");
}

TEST(Phonebook, ItemsAreMeasuredFourTimes) {
  const Task& task = **find_task("phonebook");
  const auto made = make_phonebook_items(
      task, {.min_entries = 5, .max_entries = 8, .lengths = 2, .batches = 9, .batch_size = 3, .seed = 1});
  ASSERT_TRUE(made.ok()) << made.error().message;
  ASSERT_EQ(made->items.size(), 2U * 4 * 2 * 3);  // of nine batches one is left over
  EXPECT_EQ(made->items.front().group, "phonebook_5");
  EXPECT_EQ(made->items.back().group, "phonebook_7");
  EXPECT_EQ(made->items.back().measurement, 3);
  EXPECT_EQ(made->items.back().index, 23);
  std::set<std::string> prompts;
  for (const Item& item : made->items) prompts.insert(item.context(0));
  EXPECT_EQ(prompts.size(), made->items.size());

  // A batch is one sequence of draws from its seed.
  PythonRandom random(*phonebook_seed(1, 2, 5, 1));
  for (size_t i = 0; i < 3; ++i) {
    const PhonebookItem item = draw_phonebook_item(5, PhonebookMode::kDefault, random);
    EXPECT_EQ(made->items[(2 * 2 + 1) * 3 + i].context(0), item.prompt);
    EXPECT_EQ(made->items[(2 * 2 + 1) * 3 + i].continuation(0), item.label);
  }
}

TEST(Phonebook, RefusesWhatCannotBeMeasured) {
  const auto refusal = [](const PhonebookSettings& settings) {
    const auto made = make_phonebook_items(**find_task("phonebook"), settings);
    return made.ok() ? std::string("accepted") : made.error().message;
  };
  EXPECT_EQ(refusal({.min_entries = 2}),
            "phonebook: the least number of entries is 2, expected 3 to 1000000");
  EXPECT_EQ(refusal({.min_entries = 9, .max_entries = 8}),
            "phonebook: the highest number of entries is 8, expected 9 to 1000000");
  EXPECT_EQ(refusal({.lengths = 0}), "phonebook: the number of lengths is 0, expected 1 to 1000000");
  EXPECT_EQ(refusal({.batches = 3}), "phonebook: the number of batches is 3, expected 4 to 1000000");
  EXPECT_EQ(refusal({.batch_size = 0}),
            "phonebook: the number of items in a batch is 0, expected 1 to 1000000");
  EXPECT_EQ(refusal({.batches = 1'000'000, .batch_size = 1'000'000}),
            "phonebook: the number of items of all lengths is 1000000000000, expected 1 to 1000000");
  EXPECT_EQ(refusal({.min_entries = 1'000'000, .max_entries = 1'000'000}),
            "phonebook: the number of entries of all items is 128000000, expected 1 to 40000000");
  EXPECT_EQ(phonebook_mode_named("loud").error().message,
            "phonebook: found the mode \"loud\", expected default, verbose, twice or interleaved");
}

// The source's cumulative percentages reach 90 with these names (Shon has 90.001 there).
TEST(CensusNames, ListsEndWhereDrawsEnd) {
  const auto sum = [](std::span<const NameShare> names) {
    int64_t total = 0;
    for (const NameShare& entry : names) total += entry.share;
    return total;
  };
  EXPECT_EQ(male_first_names().size(), 1208U);
  EXPECT_EQ(female_first_names().size(), 4243U);
  EXPECT_EQ(last_names().size(), 28874U);
  EXPECT_EQ(sum(male_first_names()), 90001);
  EXPECT_EQ(sum(female_first_names()), 90000);
  EXPECT_EQ(sum(last_names()), 90000);
}

}  // namespace
}  // namespace fathom::eval
