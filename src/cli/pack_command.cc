// fathom pack: text as packed token files, which the training code of the hybrids reads, too.
#include <atomic>
#include <filesystem>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/flag_checks.h"
#include "cli/stop_signal.h"
#include "cli/text_codec.h"
#include "cli/threads_flag.h"
#include "data/packed_file_writer.h"
#include "data/text_documents.h"

namespace fathom::cli {

namespace {

std::atomic<bool> stopped{false};

struct Flags {
  std::vector<std::string> paths;
  std::string tokenizer = "bytes", out, separator, text_field = "text";
  int64_t tokens_per_file = int64_t{1} << 23;
  int threads = 0;
};

Result<int> pack(const Flags& flags) {
  FATHOM_ASSIGN(const TextCodec codec, TextCodec::open(flags.tokenizer));
  if (codec.end_of_text() < 0) {
    return invalid(flags.tokenizer +
                   ": the tokenizer has no token that ends a text, expected one to stand between documents");
  }
  TextSettings text;
  text.json_field = flags.text_field;
  if (!flags.separator.empty()) text.separator = flags.separator;
  FATHOM_ASSIGN(std::vector<std::string> files, list_text_files(flags.paths, text));
  FATHOM_ASSIGN(DocumentReader documents, DocumentReader::create(std::move(files), text));
  ThreadPool threads(threads_or_all(flags.threads));
  catch_stop_signals(stopped, "nothing is kept");
  FATHOM_ASSIGN(
      PackedFileWriter writer,
      PackedFileWriter::create(flags.out, {codec.vocab_size(), codec.end_of_text(), flags.tokens_per_file}));
  const Tokenize tokenize = [&](std::string_view document) -> Result<std::vector<int32_t>> {
    FATHOM_TRY(cancelled_if(stopped));
    return codec.encode(document, {.add_special_tokens = false, .parse_special = false});
  };
  const TakeIds add = [&](std::span<const int32_t> ids, int64_t) -> Result<bool> {
    FATHOM_TRY(cancelled_if(stopped));  // ids may be made long before their files are written
    FATHOM_TRY(writer.add_document(ids));
    return true;
  };
  const Status read = encode_documents(documents, tokenize, threads, add);
  if (stopped.load()) return kExitInterrupted;
  FATHOM_TRY(read);
  if (writer.documents() == 0) return invalid("the text holds no document, expected at least one");
  FATHOM_TRY(writer.finish());
  std::cout << flags.out << "_*.bin: " << writer.tokens() << " tokens of " << writer.documents()
            << " documents in " << writer.files() << " files\n";
  return kExitOk;
}

// A path whose last part names a file.
CLI::Validator file_name() {
  return CLI::Validator(
      [](std::string& path) {
        const std::string name = std::filesystem::path(path).filename().string();
        const bool named = !name.empty() && name != "." && name != "..";
        return named ? std::string() : "'" + path + "' does not end in a name, expected one as in data/train";
      },
      "");
}

}  // namespace

Action declare_pack(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("text", flags->paths, "text files, JSON Lines, or folders of them")->required();
  app.add_option("--out,-o", flags->out, "how the files' names begin: OUT_0000000000.bin and on")
      ->required()
      ->check(file_name());
  app.add_option("--tokenizer", flags->tokenizer, "folder with a tokenizer.json, or the file, or bytes")
      ->capture_default_str();
  app.add_option("--tokens-per-file", flags->tokens_per_file, "length of each file")
      ->check(whole_number(1, PackedFileWriter::kMostTokensPerFile))
      ->capture_default_str();
  add_threads_flag(app, flags->threads);
  app.add_option("--document-separator", flags->separator, "ends a document of text (else: the file does)")
      ->check(not_empty());
  app.add_option("--text-field", flags->text_field, "of JSON Lines: the field with a document's text")
      ->capture_default_str();
  return [flags] { return pack(*flags); };
}

}  // namespace fathom::cli
