// fathom pack: text as packed token files, which the training code of the hybrids reads, too.
#include <filesystem>
#include <iostream>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/text_codec.h"
#include "data/packed_file_writer.h"
#include "data/text_documents.h"
#include "data/token_paths.h"

namespace fathom::cli {

namespace {

namespace fs = std::filesystem;

struct Flags {
  std::vector<std::string> paths;
  std::string tokenizer = "bytes", out, separator, text_field = "text";
  int64_t tokens_per_file = int64_t{1} << 23;
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
  FATHOM_ASSIGN(const std::vector<std::string> files, list_text_files(flags.paths, text));
  // Files of an earlier packing behind the last new one would be taken for part of it.
  std::error_code ignored;
  if (const std::string first = packed_file_name(flags.out, 0); fs::exists(first, ignored))
    return invalid(first + " exists already; choose another --out");
  if (const std::string folder = fs::path(flags.out).parent_path().string(); !folder.empty())
    FATHOM_TRY(make_directories(folder));
  FATHOM_ASSIGN(
      PackedFileWriter writer,
      PackedFileWriter::create(flags.out, {codec.vocab_size(), codec.end_of_text(), flags.tokens_per_file}));
  FATHOM_TRY(for_each_document(files, text, [&](std::string_view document) {
    return writer.add_document(codec.encode(document, {.add_special_tokens = false, .parse_special = false}));
  }));
  FATHOM_TRY(writer.finish());
  std::cout << flags.out << "_*.bin: " << writer.tokens() << " tokens of " << writer.documents()
            << " documents in " << writer.files() << " files\n";
  return kExitOk;
}

}  // namespace

Action declare_pack(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("text", flags->paths, "text files, JSON Lines, or folders of them")->required();
  app.add_option("--out", flags->out, "how the files' names begin: OUT_0000000000.bin and on")->required();
  app.add_option("--tokenizer", flags->tokenizer, "folder with a tokenizer.json, or the file, or bytes")
      ->capture_default_str();
  app.add_option("--tokens-per-file", flags->tokens_per_file, "length of each file")
      ->check(CLI::Range(int64_t{1}, PackedFileWriter::kMostTokensPerFile))
      ->capture_default_str();
  app.add_option("--document-separator", flags->separator, "ends a document of text (else: the file does)");
  app.add_option("--text-field", flags->text_field, "of JSON Lines: the field with a document's text")
      ->capture_default_str();
  return [flags] { return pack(*flags); };
}

}  // namespace fathom::cli
