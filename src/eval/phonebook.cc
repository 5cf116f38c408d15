#include "eval/phonebook.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

#include "base/check.h"
#include "base/extents.h"
#include "base/sentence.h"
#include "eval/census_names.h"

namespace fathom::eval {

namespace {

constexpr int kDigits = 10;

struct Entry {
  std::string name, number;
  std::string line() const { return name + ": " + number; }
};

Entry draw_entry(PythonRandom& random) {
  Entry entry{draw_full_name(random), {}};
  for (int i = 0; i < kDigits; ++i)
    entry.number += static_cast<char>('0' + random.between(i == 0 ? 6 : 0, 9));
  return entry;
}

// Each entry on a line; `before_block` in front of every block of them.
std::string lines_of(const std::vector<Entry>& entries, const std::string& before_block) {
  std::string text;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i > 0) text += '\n';
    if (i % kPhonebookBlock == 0) text += before_block;
    text += entries[i].line();
  }
  return text;
}

using NamedMode = std::pair<std::string_view, PhonebookMode>;
// The first name of a mode is ours, the second one the published data's.
constexpr std::array<NamedMode, 6> kModes = {{{"default", PhonebookMode::kDefault},
                                              {"verbose", PhonebookMode::kVerbose},
                                              {"twice", PhonebookMode::kTwice},
                                              {"interleaved", PhonebookMode::kInterleaved},
                                              {"jrt", PhonebookMode::kTwice},
                                              {"sandwich", PhonebookMode::kInterleaved}}};

Status check_range(const char* what, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return {};
  return invalid(std::string("phonebook: ") + what + " is " + std::to_string(value) + ", expected " +
                 std::to_string(least) + " to " + std::to_string(most));
}

}  // namespace

Result<PhonebookMode> phonebook_mode_named(std::string_view name) {
  const auto found = std::ranges::find(kModes, name, &NamedMode::first);
  if (found != kModes.end()) return found->second;
  return invalid("phonebook: found the mode " + in_quotes(name) +
                 ", expected default, verbose, twice or interleaved");
}

std::string_view name_of(PhonebookMode mode) {
  return std::ranges::find(kModes, mode, &NamedMode::second)->first;
}

PhonebookItem draw_phonebook_item(int64_t entries, PhonebookMode mode, PythonRandom& random) {
  FATHOM_CHECK(entries >= kFewestEntries && entries <= kMostEntries, std::to_string(entries) + " entries");
  std::vector<Entry> book;
  for (int64_t i = 0; i < entries; ++i) book.push_back(draw_entry(random));
  const std::vector<int64_t> chosen = random.sample(entries, kFewestEntries);
  const auto entry = [&](size_t i) -> const Entry& { return book[static_cast<size_t>(chosen[i])]; };
  const Entry& asked = entry(2);

  const std::string sentence = "Please find the number of " + asked.name + ".\n";
  std::string prompt;
  if (mode == PhonebookMode::kVerbose) prompt = sentence;
  if (mode == PhonebookMode::kTwice) prompt = lines_of(book, "") + '\n' + asked.name + ":\n";
  prompt += lines_of(book, mode == PhonebookMode::kInterleaved ? sentence : "");
  prompt += "\n\n" + entry(0).line() + '\n' + entry(1).line() + "\n\n" + asked.name + ':';
  return {std::move(prompt), asked.number};
}

Result<std::vector<int64_t>> phonebook_lengths(const PhonebookSettings& settings) {
  FATHOM_TRY(check_range("the least number of entries", settings.min_entries, kFewestEntries, kMostEntries));
  FATHOM_TRY(
      check_range("the highest number of entries", settings.max_entries, settings.min_entries, kMostEntries));
  FATHOM_TRY(check_range("the number of lengths", settings.lengths, 1, kMostEntries));
  const int64_t step = ceil_div(settings.max_entries + 1 - settings.min_entries, settings.lengths);
  std::vector<int64_t> lengths;
  for (int64_t entries = settings.min_entries; entries <= settings.max_entries; entries += step)
    lengths.push_back(entries);
  return lengths;
}

Result<uint64_t> phonebook_seed(uint64_t seed, int64_t measurement, int64_t entries, int64_t batch) {
  const std::string digits =
      std::to_string(seed) + std::to_string(measurement) + std::to_string(entries) + std::to_string(batch);
  uint64_t whole = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), whole).ec == std::errc()) return whole;
  return invalid("phonebook: the seed of a batch would be " + digits +
                 ", expected less than 2^64: the seed " + std::to_string(seed) + " is too long");
}

Result<TaskItems> make_phonebook_items(const Task& task, const PhonebookSettings& settings) {
  constexpr int64_t kMost = 1'000'000;
  FATHOM_ASSIGN(const std::vector<int64_t> lengths, phonebook_lengths(settings));
  FATHOM_TRY(check_range("the number of batches", settings.batches, kPhonebookMeasurements, kMost));
  FATHOM_TRY(check_range("the number of items in a batch", settings.batch_size, 1, kMost));
  const int64_t of_each =
      settings.batches / kPhonebookMeasurements * kPhonebookMeasurements * settings.batch_size;
  const int64_t count = static_cast<int64_t>(lengths.size()) * of_each;  // 10^18 at the most
  FATHOM_TRY(check_range("the number of items of all lengths", count, 1, kMost));
  const int64_t entries_in_all = of_each * std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  FATHOM_TRY(check_range("the number of entries of all items", entries_in_all, 1, kMostEntriesInAll));
  TaskItems made{.task = &task, .form = name_of(settings.mode)};
  for (const int64_t entries : lengths) {
    int64_t index = 0;
    for (int64_t measurement = 0; measurement < kPhonebookMeasurements; ++measurement) {
      for (int64_t batch = 0; batch < settings.batches / kPhonebookMeasurements; ++batch) {
        FATHOM_ASSIGN(const uint64_t seed, phonebook_seed(settings.seed, measurement, entries, batch));
        PythonRandom random(seed);
        for (int64_t i = 0; i < settings.batch_size; ++i) {
          PhonebookItem item = draw_phonebook_item(entries, settings.mode, random);
          made.items.push_back({.group = std::string(task.name) + "_" + std::to_string(entries),
                                .index = index++,
                                .measurement = measurement,
                                .contexts = {std::move(item.prompt)},
                                .continuations = {std::move(item.label)}});
        }
      }
    }
  }
  made.rows = static_cast<int64_t>(made.items.size());
  return made;
}

}  // namespace fathom::eval
