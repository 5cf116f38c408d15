// fathom tokenize: text to ids, ids to text, and training of a tokenizer.
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/encode_texts.h"
#include "cli/flag_checks.h"
#include "cli/line_reader.h"
#include "cli/output_folder.h"
#include "cli/threads_flag.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer_writer.h"

namespace fathom::cli {

namespace {

namespace fs = std::filesystem;

struct TokenizeFlags {
  std::string tokenizer, file = "-", text;
  bool has_text = false, ids = false, count = false, decode = false, special = false, null = false;
  int threads = 0, bench = 0;
  std::vector<std::string> train;
  text::BpeTrainOptions training;
  std::string out;
};

// What is done with one line; `place` names it in messages.
using LineAction = std::function<Status(const std::string& line, const std::string& place)>;

Result<LineReader> open_file(const TokenizeFlags& flags) {
  return LineReader::open(flags.file, flags.null ? '\0' : '\n');
}

Status for_each_line(const TokenizeFlags& flags, const LineAction& action) {
  if (flags.has_text) return action(flags.text, "the text");
  FATHOM_ASSIGN(LineReader reader, open_file(flags));
  std::string line;
  for (;;) {
    FATHOM_ASSIGN(const bool more, reader.next(line));
    if (!more) return {};
    FATHOM_TRY(action(line, reader.place()));
  }
}

Status encode(const TextCodec& codec, const TokenizeFlags& flags, const TextSource& source) {
  const text::EncodeOptions options{.add_special_tokens = flags.special, .parse_special = flags.special};
  ThreadPool threads(threads_or_all(flags.threads));
  if (flags.bench > 0) return time_encoding(codec, options, flags.bench, source, threads);
  const EncodeOutput output = flags.count ? EncodeOutput::kCount
                              : flags.ids ? EncodeOutput::kIds
                                          : EncodeOutput::kTokens;
  return encode_texts(codec, options, output, source, threads);
}

Status encode_input(const TextCodec& codec, const TokenizeFlags& flags) {
  if (flags.has_text) {
    bool given = false;
    return encode(codec, flags, [&](std::string& text) -> Result<bool> {
      text = flags.text;
      return !std::exchange(given, true);
    });
  }
  FATHOM_ASSIGN(LineReader reader, open_file(flags));
  return encode(codec, flags, [&](std::string& text) { return reader.next(text); });
}

Result<std::vector<int32_t>> parse_ids(const std::string& line, int64_t vocab_size) {
  const Result<nlohmann::json> list = parse_json(line, {.max_depth = 2});
  if (!list.ok() || !list->is_array()) return invalid("expected a JSON list of ids, such as [1, 2, 3]");
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : *list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(vocab_size)) {
      return invalid(id.dump() + " is no id of this tokenizer, expected 0 to " +
                     std::to_string(vocab_size - 1));
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

Status decode_lines(const TextCodec& codec, const TokenizeFlags& flags) {
  return for_each_line(flags, [&](const std::string& line, const std::string& place) -> Status {
    auto ids = parse_ids(line, codec.vocab_size());
    if (!ids.ok()) return at(place, std::move(ids).error());
    std::cout << codec.decode(*ids, /*skip_special=*/!flags.special) << "\n";
    return {};
  });
}

// How many bytes there were.
Result<int64_t> feed_file(const std::string& path, text::BpeTrainer& trainer) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return io_error(path + ": cannot be opened for reading");
  std::vector<char> block(1 << 20);
  int64_t bytes = 0;
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0) {
    trainer.feed({block.data(), static_cast<size_t>(file.gcount())});
    bytes += file.gcount();
  }
  if (file.bad()) return io_error(path + ": reading failed");
  trainer.end_text();
  return bytes;
}

// Before long work: whether the tokenizer's files can be written, and would replace none.
Status check_tokenizer_folder(const std::string& folder) {
  std::error_code ignored;
  if (fs::exists(folder, ignored) && !fs::is_directory(folder, ignored))
    return invalid(folder + " is a file, expected a folder for the tokenizer");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
    FATHOM_TRY(check_not_there((fs::path(folder) / name).string()));
  return {};
}

Result<int> train(const TokenizeFlags& flags) {
  Result<text::BpeTrainer> created = text::BpeTrainer::create(flags.training);
  if (!created.ok()) return wrong_usage(created.error().message);  // all its options are flags
  text::BpeTrainer trainer = std::move(created).value();
  FATHOM_TRY(check_tokenizer_folder(flags.out));
  int64_t bytes = 0;
  for (const std::string& path : flags.train) {
    FATHOM_ASSIGN(const int64_t more, feed_file(path, trainer));
    bytes += more;
  }
  if (bytes == 0) return invalid(flags.train[0] + ": no text, expected some to learn from");
  const text::TrainedBpe trained = trainer.train();
  FATHOM_TRY(text::write_tokenizer(trained, flags.out));
  std::cout << flags.out << ": " << trained.tokens.size() << " tokens, " << trained.merges.size()
            << " merges\n";
  if (static_cast<int64_t>(trained.tokens.size()) < flags.training.vocab_size) {
    std::cout
        << "The text has no further pair of tokens that occurs twice, so the vocabulary is smaller than "
        << flags.training.vocab_size << ".\n";
  }
  return kExitOk;
}

Result<int> run(const TokenizeFlags& flags) {
  std::ios::sync_with_stdio(false);
  if (!flags.train.empty()) return train(flags);
  FATHOM_ASSIGN(const TextCodec codec, TextCodec::open(flags.tokenizer));
  FATHOM_TRY(flags.decode ? decode_lines(codec, flags) : encode_input(codec, flags));
  return kExitOk;
}

}  // namespace

Action declare_tokenize(CLI::App& app) {
  auto flags = std::make_shared<TokenizeFlags>();
  app.footer(
      "Every line of the input is a text of its own, encoded without its line feed; threads share them out.\n"
      "Prints one token per line unless --ids, --count or --bench is given.");
  auto* tokenizer =
      app.add_option("--tokenizer", flags->tokenizer, "folder with a tokenizer.json, or the file, or bytes");
  auto* text = app.add_option("text", flags->text, "the text (default: the lines of --file)");
  auto* file =
      app.add_option("--file,-f", flags->file, "file to read, - for standard input")->capture_default_str();
  auto* ids = app.add_flag("--ids", flags->ids, "print one JSON list of ids per line of input");
  auto* count = app.add_flag("--count", flags->count, "print how many tokens, lines and bytes there are");
  auto* null =
      app.add_flag("--null,-0", flags->null,
                   "texts of --file end with a zero byte instead of a line feed, so that they may hold "
                   "line feeds");
  auto* threads = add_threads_flag(app, flags->threads);
  auto* bench = app.add_option("--bench", flags->bench,
                               "encode all texts this many times in memory and print how fast each time was")
                    ->check(whole_number(1, 1'000'000));
  auto* decode =
      app.add_flag("--decode", flags->decode, "lines of input are JSON lists of ids; print their texts");
  auto* special =
      app.add_flag("--special", flags->special,
                   "read special tokens in the text, add those that the tokenizer puts around a text, "
                   "and print them when decoding; without it they are plain text");
  auto* train = app.add_option("--train", flags->train, "learn a byte-level BPE tokenizer from these files")
                    ->expected(1, -1);
  auto* size =
      app.add_option("--vocab-size", flags->training.vocab_size, "entries of the vocabulary to learn")
          ->check(whole_number(1))
          ->capture_default_str();
  auto* names = app.add_option("--special-token", flags->training.special_tokens,
                               "special tokens of the vocabulary to learn, in order of id")
                    ->capture_default_str();
  auto* out = app.add_option("--out,-o", flags->out, "folder for the learnt tokenizer")->check(not_empty());
  for (CLI::Option* option : {size, names, out}) option->needs(train);
  train->needs(out);
  text->excludes(file);
  count->excludes(ids);
  null->excludes(text);
  for (CLI::Option* option : {ids, count}) bench->excludes(option);
  for (CLI::Option* option : {ids, count, null, threads, bench}) decode->excludes(option);
  for (CLI::Option* option : {tokenizer, text, file, ids, count, decode, special, null, threads, bench}) {
    train->excludes(option);
  }
  return [flags, text, train, tokenizer]() -> Result<int> {
    flags->has_text = text->count() > 0;
    if (train->count() + tokenizer->count() == 0) return wrong_usage("tokenize needs --tokenizer or --train");
    return run(*flags);
  };
}

}  // namespace fathom::cli
