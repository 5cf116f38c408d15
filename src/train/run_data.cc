#include "train/run_data.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <limits>
#include <optional>

#include "base/file.h"
#include "data/text_documents.h"
#include "data/token_paths.h"
#include "io/model_directory.h"
#include "text/tokenizer.h"
#include "train/torch_parallel.h"

namespace fathom::train {

namespace {

namespace fs = std::filesystem;

constexpr int32_t kIgnored = -100;
constexpr const char* kValid = "valid";  // what the shard of validation data is called

struct Encoder {
  Tokenize encode;
  int64_t vocab_size = 0;
  std::optional<int32_t> end_of_document;
  std::vector<std::pair<std::string, std::string>> files;  // name, content
};

Result<Encoder> open_encoder(const DataConfig& config) {
  Encoder encoder;
  if (config.tokenizer == "bytes") {
    encoder.encode = [](std::string_view text) -> Result<std::vector<int32_t>> {
      return tokenize_bytes(text);
    };
    encoder.vocab_size = kByteVocabSize;
    encoder.end_of_document = kByteEndOfDocument;
    return encoder;
  }
  FATHOM_ASSIGN(text::Tokenizer loaded, text::Tokenizer::load(config.tokenizer));
  auto tokenizer = std::make_shared<const text::Tokenizer>(std::move(loaded));
  encoder.encode = [tokenizer](std::string_view piece) -> Result<std::vector<int32_t>> {
    return tokenizer->encode(piece, {.add_special_tokens = false, .parse_special = false});
  };
  encoder.vocab_size = tokenizer->vocab_size();
  encoder.end_of_document = tokenizer->special_ids().eos;
  const fs::path folder = fs::is_directory(config.tokenizer) ? fs::path(config.tokenizer)
                                                             : fs::path(config.tokenizer).parent_path();
  for (const char* name : kTokenizerFiles) {
    if (!fs::exists(folder / name)) continue;
    FATHOM_ASSIGN(std::string content, read_file((folder / name).string(), uint64_t{256} << 20));
    encoder.files.emplace_back(name, std::move(content));
  }
  return encoder;
}

// Newest change among the text files.
Result<fs::file_time_type> newest(const std::vector<std::string>& files) {
  fs::file_time_type time = fs::file_time_type::min();
  std::error_code code;
  for (const std::string& file : files) {
    time = std::max(time, fs::last_write_time(file, code));
    if (code) return io_error(file + ": " + code.message());
  }
  return time;
}

// The tokens of text: where they are, or are to be made.
struct TextShard {
  TextSettings settings;
  std::vector<std::string> text;  // the files
  std::string path;
  bool is_made = false;
};

// Opens what a configuration calls data.
struct Opener {
  const DataConfig& config;
  const Encoder& encoder;
  const std::string& directory;  // where shards are looked for,
  const std::string& scratch;    // and where they are made
  Parallel& threads;

  Result<std::shared_ptr<const TokenStream>> stream(const std::vector<std::string>& paths,
                                                    const std::string& name) const {
    std::vector<TokenFile> files;
    for (const std::string& path : paths) {
      if (!is_token_path(path)) continue;
      FATHOM_ASSIGN(std::vector<TokenFile> named,
                    open_token_files(path, encoder.vocab_size, encoder.end_of_document, threads));
      std::ranges::move(named, std::back_inserter(files));
    }
    FATHOM_ASSIGN(const std::optional<TextShard> shard, shard_of(paths, name));
    if (shard) {
      if (!shard->is_made) FATHOM_TRY(make(*shard, std::numeric_limits<int64_t>::max()));
      FATHOM_ASSIGN(TokenFile file, TokenFile::open(shard->path));
      files.push_back(std::move(file));
    }
    FATHOM_ASSIGN(TokenStream stream, TokenStream::create(std::move(files)));
    return std::make_shared<const TokenStream>(std::move(stream));
  }

  // Makes the shard of the text among `paths`, if there is none yet. What it leaves out.
  Result<std::optional<TextSample>> sample(const std::vector<std::string>& paths, const std::string& name,
                                           int64_t most_tokens) const {
    FATHOM_ASSIGN(const std::optional<TextShard> shard, shard_of(paths, name));
    if (!shard || shard->is_made) return std::optional<TextSample>();
    FATHOM_ASSIGN(const ShardSummary made, make(*shard, most_tokens));
    const bool whole = made.tokens < most_tokens || made.bytes_read == made.bytes;
    return whole ? std::nullopt : std::optional(TextSample{made.tokens, made.bytes_read, made.bytes});
  }

 private:
  // Of the text files and folders among `paths`; none if there are none.
  Result<std::optional<TextShard>> shard_of(const std::vector<std::string>& paths,
                                            const std::string& name) const {
    std::vector<std::string> text;
    std::ranges::copy_if(paths, std::back_inserter(text),
                         [](const std::string& path) { return !is_token_path(path); });
    if (text.empty()) return std::optional<TextShard>();
    TextShard shard;
    shard.settings.json_field = config.text_field;
    if (!config.document_separator.empty()) shard.settings.separator = config.document_separator;
    FATHOM_ASSIGN(shard.text, list_text_files(text, shard.settings));
    FATHOM_ASSIGN(const fs::file_time_type changed, newest(shard.text));
    const std::string file_name = "/data/" + name + "-" + identity_of(shard.text) + ".tokens";
    std::error_code code;
    const fs::file_time_type made = fs::last_write_time(directory + file_name, code);
    shard.path = directory + file_name;
    shard.is_made = !code && made >= changed;
    if (!shard.is_made) {
      shard.path = scratch + file_name;
      shard.is_made = scratch != directory && fs::exists(shard.path, code);
    }
    return std::optional(std::move(shard));
  }

  Result<ShardSummary> make(const TextShard& shard, int64_t most_tokens) const {
    FATHOM_TRY(make_directories(scratch + "/data"));
    return write_shard_from_text(shard.text, shard.settings, encoder.encode,
                                 {encoder.vocab_size, encoder.end_of_document}, shard.path, threads,
                                 most_tokens);
  }

  // Of everything that the ids depend on, but for what stands in the files.
  std::string identity_of(const std::vector<std::string>& files) const {
    Sha256 hash;
    const auto add = [&](const std::string& word) {
      hash.update({reinterpret_cast<const uint8_t*>(word.c_str()), word.size() + 1});  // with its end
    };
    for (const std::string& word : {config.document_separator, config.text_field, config.tokenizer})
      add(word);
    for (const auto& [file, content] : encoder.files) add(content);
    add(std::to_string(encoder.end_of_document.value_or(-1)));
    for (const std::string& path : files) add(path);
    return to_hex(hash.finish()).substr(0, 12);
  }
};

}  // namespace

Result<RunData> open_run_data(const DataConfig& config, int64_t vocab_size, const std::string& directory,
                              const std::string& scratch) {
  FATHOM_ASSIGN(const Encoder encoder, open_encoder(config));
  if (encoder.vocab_size > vocab_size) {
    return invalid("data.tokenizer has " + std::to_string(encoder.vocab_size) +
                   " tokens, the model's vocab_size is " + std::to_string(vocab_size));
  }
  RunData data;
  data.end_of_document = encoder.end_of_document;
  data.tokenizer_files = encoder.files;
  const Opener opener{config, encoder, directory, scratch, torch_parallel()};
  const auto rows_of = [&](const std::shared_ptr<const TokenStream>& stream) {
    const int64_t stride = config.sequence_length;
    const int64_t length = config.label_inside_row ? stride : stride + 1;
    return config.order == RowOrderKind::kFileGroups ? PackedRows::create_in_files(stream, length)
                                                     : PackedRows::create(stream, length, stride);
  };
  for (const SourceConfig& source : config.sources) {
    FATHOM_ASSIGN(auto stream, opener.stream(source.paths, source.name));
    Result<PackedRows> rows = rows_of(stream);
    if (!rows.ok()) return config.sources.size() == 1 ? rows.error() : at(source.name, rows.error());
    data.sources.push_back({source, std::make_shared<const PackedRows>(std::move(rows).value())});
  }
  if (!config.valid.empty()) {
    FATHOM_ASSIGN(auto valid, opener.stream(config.valid, kValid));
    FATHOM_ASSIGN(PackedRows valid_rows, rows_of(valid));
    data.valid = std::make_shared<const PackedRows>(std::move(valid_rows));
  }
  return data;
}

Result<RunSamples> sample_run_data(const DataConfig& config, const std::string& directory,
                                   const std::string& scratch, int64_t most_tokens, Parallel& threads) {
  FATHOM_ASSIGN(const Encoder encoder, open_encoder(config));
  const Opener opener{config, encoder, directory, scratch, threads};
  RunSamples samples;
  for (const SourceConfig& source : config.sources) {
    FATHOM_ASSIGN(std::optional<TextSample> sample, opener.sample(source.paths, source.name, most_tokens));
    samples.sources.push_back(sample);
  }
  FATHOM_ASSIGN(samples.valid, opener.sample(config.valid, kValid, most_tokens));
  return samples;
}

int64_t RunData::train_rows() const {
  int64_t rows = 0;
  for (const TrainSource& source : sources) rows += source.rows->rows();
  return rows;
}

int64_t RunData::train_tokens() const {
  int64_t tokens = 0;
  for (const TrainSource& source : sources) tokens += source.rows->stream().tokens();
  return tokens;
}

int64_t add_row(const DataConfig& config, const PackedRows& rows, int64_t row, Batch& batch) {
  const std::vector<int32_t> tokens = rows.row(row);
  const auto inputs = static_cast<size_t>(config.sequence_length);
  std::vector<int32_t> labels(inputs, kIgnored);
  for (size_t t = 0; t < inputs && t + 1 < tokens.size(); ++t) labels[t] = tokens[t + 1];
  std::vector<int32_t> cuts = {0};
  if (config.keep_documents_apart) cuts = rows.document_cuts(row);
  int64_t counted = 0;
  for (size_t c = 0; c < cuts.size(); ++c) {
    const auto begin = static_cast<size_t>(cuts[c]);
    const size_t end = c + 1 < cuts.size() ? std::min(inputs, static_cast<size_t>(cuts[c + 1])) : inputs;
    if (begin >= end) continue;
    // What follows a document's end cannot be known from the document.
    if (end < inputs && !config.segments_of_row) labels[end - 1] = kIgnored;
    batch.add({tokens.begin() + static_cast<int64_t>(begin), tokens.begin() + static_cast<int64_t>(end)},
              {labels.begin() + static_cast<int64_t>(begin), labels.begin() + static_cast<int64_t>(end)},
              config.segments_of_row ? static_cast<int32_t>(begin) : 0);
  }
  for (int32_t label : labels) counted += label != kIgnored ? 1 : 0;
  return counted;
}

}  // namespace fathom::train
