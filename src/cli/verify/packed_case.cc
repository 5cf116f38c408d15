// Packed token files of the hybrids' training code.
#include <cstdio>

#include "base/file.h"
#include "base/json.h"
#include "cli/scratch_directory.h"
#include "cli/verify/case_kinds.h"
#include "data/packed_file_writer.h"
#include "data/packed_rows.h"
#include "data/row_iterator.h"

namespace fathom::cli::verify {

namespace {

using nlohmann::json;

struct PackedCase {
  std::string directory;
  json record;
  int64_t vocab_size = 0;
  int32_t end_of_document = 0;
  std::vector<std::string> files;

  Result<TokenFile> open(const std::string& file) const {
    return TokenFile::open_packed(directory + "/" + file, vocab_size, end_of_document);
  }
};

Status compare_ids(const PackedCase& c, Report& report) {
  std::vector<int32_t> got, expected;
  for (const std::string& name : c.files) {
    FATHOM_ASSIGN(const TokenFile file, c.open(name));
    const size_t begin = got.size();
    got.resize(begin + static_cast<size_t>(file.tokens()));
    file.read(0, std::span(got).subspan(begin));
  }
  // Recorded documents hold their ends.
  for (const json& document : c.record.at("documents")) {
    const auto ids = document.get<std::vector<int32_t>>();
    expected.insert(expected.end(), ids.begin(), ids.end());
  }
  Tally tally;
  for (size_t i = 0; i < got.size(); ++i)
    tally.expect(got[i], i < expected.size() ? expected[i] : c.end_of_document);
  tally.expect(got.size() >= expected.size(), true);
  tally.report(report, "data", "ids of the files");
  return {};
}

// The recorded documents, written by our own writer, are the recorded files.
Status compare_written(const PackedCase& c, Report& report) {
  FATHOM_ASSIGN(const ScratchDirectory scratch, ScratchDirectory::create("fathom-verify"));
  FATHOM_ASSIGN(PackedFileWriter writer,
                PackedFileWriter::create(scratch.path() + "/packed",
                                         {c.vocab_size, c.end_of_document, c.record.at("chunk_size")}));
  for (const json& document : c.record.at("documents")) {
    const auto ids = document.get<std::vector<int32_t>>();
    if (ids.empty() || ids.back() != c.end_of_document)
      return invalid(c.directory + "/packed_data.json: a document does not end with its end");
    FATHOM_TRY(writer.add_document(std::span(ids).first(ids.size() - 1)));
  }
  FATHOM_TRY(writer.finish());
  Tally tally;
  tally.expect(writer.files(), static_cast<int64_t>(c.files.size()));
  for (int64_t f = 0; f < writer.files() && f < static_cast<int64_t>(c.files.size()); ++f) {
    const std::string& name = c.files[static_cast<size_t>(f)];
    FATHOM_ASSIGN(const std::string expected, read_file(c.directory + "/" + name));
    // Names end with the same number.
    FATHOM_ASSIGN(const std::string got,
                  read_file(scratch.path() + "/packed" + name.substr(name.rfind('_'))));
    tally.expect(got, expected);
  }
  tally.report(report, "data", "files written from the documents, byte by byte");
  return {};
}

// The first rows that a reader gave: of its share of the files, in its order, epoch after epoch.
Status compare_reader(const PackedCase& c, const json& reader, Report& report) {
  const auto number = [&](const char* key) { return reader.at(key).get<int64_t>(); };
  const int64_t processes = number("num_processes");
  std::vector<TokenFile> files;
  const int64_t dealt = static_cast<int64_t>(c.files.size()) / processes * processes;
  for (int64_t f = number("process_rank"); f < dealt; f += processes) {
    FATHOM_ASSIGN(TokenFile file, c.open(c.files[static_cast<size_t>(f)]));
    files.push_back(std::move(file));
  }
  FATHOM_ASSIGN(TokenStream stream, TokenStream::create(std::move(files)));
  FATHOM_ASSIGN(const PackedRows rows,
                PackedRows::create_in_files(std::make_shared<const TokenStream>(std::move(stream)),
                                            number("block_size")));
  OrderSettings settings;
  settings.kind = OrderKind::kFileGroups;
  settings.seed = static_cast<uint64_t>(number("seed"));
  settings.groups = {.file_rows = rows.rows_of_files(),
                     .files = number("n_chunks"),
                     .shuffled = reader.at("shuffle").get<bool>(),
                     .whole_groups = reader.at("drop_last").get<bool>()};
  FATHOM_ASSIGN(RowOrder order, RowOrder::create(std::move(settings), rows.rows()));
  RowIterator iterator(std::move(order), rows.stream().fingerprint());
  Tally tally;
  for (const json& block : reader.at("first_blocks"))
    tally.expect(rows.row(iterator.next()), block.get<std::vector<int32_t>>());
  tally.report(report, "data",
               "rows of " + std::to_string(number("n_chunks")) + " files at a time, seed " +
                   std::to_string(number("seed")) + ", process " + std::to_string(number("process_rank")) +
                   " of " + std::to_string(processes));
  return {};
}

}  // namespace

Status verify_packed_data(const CaseRequest& request, Report& report, Parallel& /*parallel*/) {
  PackedCase c;
  c.directory = request.directory;
  const std::string path = request.directory + "/packed_data.json";
  FATHOM_ASSIGN(c.record, read_json_file(path));
  try {
    c.vocab_size = c.record.at("vocab_size");
    c.end_of_document = c.record.at("eos");
    c.files = c.record.at("files").get<std::vector<std::string>>();
    FATHOM_TRY(compare_ids(c, report));
    FATHOM_TRY(compare_written(c, report));
    for (const json& reader : c.record.at("readers")) FATHOM_TRY(compare_reader(c, reader, report));
  } catch (const json::exception& error) {
    return invalid(path + ": " + error.what());
  }
  return {};
}

}  // namespace fathom::cli::verify
