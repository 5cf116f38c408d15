#include "cli/pack_texts.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>

#include "data/token_paths.h"

namespace fathom::cli {

namespace {

constexpr int64_t kAllTokens = std::numeric_limits<int64_t>::max();

// Tokens of the rows that are wanted.
int64_t wanted_tokens(const PackSettings& settings) {
  const bool all = settings.rows == 0 || settings.rows > (kAllTokens - settings.length) / settings.stride;
  return all ? kAllTokens : (settings.rows - 1) * settings.stride + settings.length;
}

}  // namespace

Result<PackedRows> pack_texts(const std::vector<std::string>& paths, const TextCodec& codec,
                              const PackSettings& settings, const std::string& scratch) {
  const std::optional<int32_t> end =
      codec.end_of_text() < 0 ? std::nullopt : std::optional(codec.end_of_text());
  SerialParallel serial;
  Parallel& threads = settings.threads != nullptr ? *settings.threads : static_cast<Parallel&>(serial);
  std::vector<TokenFile> files;
  std::vector<std::string> texts;
  int64_t missing = wanted_tokens(settings);
  for (const std::string& path : paths) {
    if (is_token_path(path)) {
      FATHOM_ASSIGN(std::vector<TokenFile> named, open_token_files(path, codec.vocab_size(), end, threads));
      for (const TokenFile& file : named) missing -= file.tokens();
      std::ranges::move(named, std::back_inserter(files));
    } else {
      texts.push_back(path);
    }
  }
  if (!texts.empty()) {
    const std::string shard = scratch + "/text.tokens";
    const auto tokenize = [&](std::string_view text) -> Result<std::vector<int32_t>> {
      return codec.encode(text, {.add_special_tokens = false, .parse_special = false});
    };
    FATHOM_TRY(write_shard_from_text(texts, settings.text, tokenize, {codec.vocab_size(), end}, shard,
                                     threads, missing));
    FATHOM_ASSIGN(TokenFile file, TokenFile::open(shard));
    files.push_back(std::move(file));
  }
  FATHOM_ASSIGN(TokenStream stream, TokenStream::create(std::move(files)));
  if (stream.vocab_size() > settings.vocab_size) {
    return invalid("the token files have a vocabulary of " + std::to_string(stream.vocab_size()) +
                   ", the model one of " + std::to_string(settings.vocab_size));
  }
  return PackedRows::create(std::make_shared<const TokenStream>(std::move(stream)), settings.length,
                            settings.stride);
}

}  // namespace fathom::cli
