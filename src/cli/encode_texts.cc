#include "cli/encode_texts.h"

#include <algorithm>
#include <charconv>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/clock.h"

namespace fathom::cli {

namespace {

constexpr size_t kTaskBytes = size_t{64} << 10;  // what one thread takes at a time
constexpr size_t kBatchBytes = size_t{4} << 20;  // what is in memory, for each thread

struct Counts {
  int64_t texts = 0, bytes = 0, tokens = 0;
  Counts& operator+=(const Counts& other) {
    texts += other.texts;
    bytes += other.bytes;
    tokens += other.tokens;
    return *this;
  }
};

// Texts [begin, end) of a batch, and what became of them.
struct Task {
  size_t begin = 0, end = 0;
  Counts counts;
  std::string printed;
};

void append_number(int32_t number, std::string& out) {
  char digits[12];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

void print_ids(const std::vector<int32_t>& ids, std::string& out) {
  out += '[';
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ", ";
    append_number(ids[i], out);
  }
  out += "]\n";
}

void print_tokens(const TextCodec& codec, const std::vector<int32_t>& ids, std::string& out) {
  for (int32_t id : ids) {
    const int32_t one[] = {id};
    append_number(id, out);
    ((out += '\t') += nlohmann::json(codec.decode(one, /*skip_special=*/false)).dump()) += '\n';
  }
}

// Texts in memory, in tasks of about kTaskBytes.
class Batch {
 public:
  // Reads until `bytes` are passed; false if there was no text left.
  Result<bool> read(const TextSource& source, size_t bytes) {
    texts_.clear();
    tasks_.clear();
    size_t size = 0, open = kTaskBytes;
    std::string text;
    while (size < bytes) {
      FATHOM_ASSIGN(const bool more, source(text));
      if (!more) break;
      size += text.size();
      open += text.size() + 1;
      texts_.push_back(text);
      if (open > kTaskBytes) {
        tasks_.emplace_back().begin = texts_.size() - 1;
        open = text.size() + 1;
      }
      tasks_.back().end = texts_.size();
    }
    return !texts_.empty();
  }

  // Calls `use` with the ids of every text, on all threads. The sum of what it counted.
  template <class Use>
  Counts encode(const TextCodec& codec, text::EncodeOptions options, Parallel& threads, const Use& use) {
    threads.run(static_cast<int64_t>(tasks_.size()), 1, [&](int64_t begin, int64_t end, int) {
      std::vector<int32_t> ids;
      for (int64_t i = begin; i < end; ++i) {
        Task& task = tasks_[static_cast<size_t>(i)];
        task.counts = {};
        for (size_t at = task.begin; at < task.end; ++at) {
          ids.clear();
          codec.encode_to(texts_[at], options, ids);
          task.counts += {1, static_cast<int64_t>(texts_[at].size()), static_cast<int64_t>(ids.size())};
          use(ids, task.printed);
        }
      }
    });
    Counts sum;
    for (const Task& task : tasks_) sum += task.counts;
    return sum;
  }

  const std::vector<Task>& tasks() const { return tasks_; }

 private:
  std::vector<std::string> texts_;
  std::vector<Task> tasks_;
};

}  // namespace

Status encode_texts(const TextCodec& codec, text::EncodeOptions options, EncodeOutput output,
                    const TextSource& source, Parallel& threads) {
  Batch batch;
  Counts counts;
  for (;;) {
    FATHOM_ASSIGN(const bool more,
                  batch.read(source, kBatchBytes * static_cast<size_t>(threads.num_threads())));
    if (!more) break;
    counts += batch.encode(codec, options, threads, [&](const std::vector<int32_t>& ids, std::string& out) {
      if (output == EncodeOutput::kIds) print_ids(ids, out);
      if (output == EncodeOutput::kTokens) print_tokens(codec, ids, out);
    });
    for (const Task& task : batch.tasks()) std::cout << task.printed;
  }
  if (output == EncodeOutput::kCount) {
    std::cout << counts.tokens << " tokens, " << counts.texts << " lines, " << counts.bytes << " bytes\n";
  }
  return {};
}

Status time_encoding(const TextCodec& codec, text::EncodeOptions options, int rounds,
                     const TextSource& source, Parallel& threads) {
  Batch batch;
  FATHOM_ASSIGN(const bool any, batch.read(source, SIZE_MAX));
  if (!any) return invalid("there is no text to encode");
  SteadyClock clock;
  std::vector<double> rates;
  Counts counts;
  std::cout << std::fixed << std::setprecision(1);
  for (int round = 1; round <= rounds; ++round) {
    const double started = clock.seconds();
    counts = batch.encode(codec, options, threads, [](const std::vector<int32_t>&, std::string&) {});
    rates.push_back(static_cast<double>(counts.bytes) * 1e-6 / (clock.seconds() - started));
    std::cout << "round " << round << ": " << rates.back() << " MB/s\n";
  }
  std::ranges::sort(rates);
  std::cout << "median " << rates[rates.size() / 2] << " MB/s (" << rates.front() << " to " << rates.back()
            << "), " << counts.tokens << " tokens, " << counts.texts << " lines, " << counts.bytes
            << " bytes, " << threads.num_threads()
            << (threads.num_threads() == 1 ? " thread\n" : " threads\n");
  return {};
}

}  // namespace fathom::cli
