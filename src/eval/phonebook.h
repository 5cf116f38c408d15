// Phonebook (Jelassi et al., "Repeat after me", arXiv 2402.01032): a list of names and numbers, and a name
// whose number is asked for. The items are drawn as the evaluation of Decoder-Hybrid-Decoder (ArchScale,
// eval_phonebook.py) draws them, so that from the same seed come the same prompts, to the byte.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/python_random.h"
#include "eval/items.h"

namespace fathom::eval {

// What stands around the entries.
enum class PhonebookMode : uint8_t {
  kDefault,     // nothing
  kVerbose,     // the question in a sentence, before everything
  kTwice,       // entries and question first, then the default prompt
  kInterleaved  // the question in a sentence, before every kPhonebookBlock entries
};
// "default", "verbose", "twice" (also "jrt"), "interleaved" (also "sandwich"). Error: another name.
Result<PhonebookMode> phonebook_mode_named(std::string_view name);
std::string_view name_of(PhonebookMode mode);

inline constexpr int64_t kPhonebookBlock = 20;
inline constexpr int64_t kPhonebookMeasurements = 4;
// Two entries are repeated as examples, a third one is asked for.
inline constexpr int64_t kFewestEntries = 3;
inline constexpr int64_t kMostEntries = 1'000'000;
inline constexpr int64_t kMostEntriesInAll = 40'000'000;  // about a gigabyte of text

struct PhonebookItem {
  std::string prompt, label;
};
// Draws the entries (name, then ten digits, the first from 6 to 9), then three distinct ones of them: two
// examples and the one that is asked for. entries is within the limits above.
PhonebookItem draw_phonebook_item(int64_t entries, PhonebookMode mode, PythonRandom& random);

// The defaults are those of the published command line.
struct PhonebookSettings {
  int64_t min_entries = 480, max_entries = 480;
  int64_t lengths = 48;  // at most so many from min_entries to max_entries
  int64_t batches = 32;  // of each length; every measurement gets a fourth of them
  int64_t batch_size = 4;
  uint64_t seed = 42;
  PhonebookMode mode = PhonebookMode::kDefault;
};

// Numbers of entries that are measured: min, min + step, ... up to max, the step (max + 1 - min) / lengths
// rounded up. Errors: numbers out of their limits.
Result<std::vector<int64_t>> phonebook_lengths(const PhonebookSettings& settings);

// The four numbers written behind each other are the seed of a batch: 42, 0, 480, 0 -> 4204800. Error: more
// than 64 bits.
Result<uint64_t> phonebook_seed(uint64_t seed, int64_t measurement, int64_t entries, int64_t batch);

// All items: a group for each length ("phonebook_480"), in it the batches of the measurements in order, in
// these the items, drawn one after the other. Memory: their texts, about 25 bytes an entry. Errors: numbers
// out of their limits; more than a million items, or kMostEntriesInAll, of all lengths together.
Result<TaskItems> make_phonebook_items(const Task& task, const PhonebookSettings& settings);

}  // namespace fathom::eval
