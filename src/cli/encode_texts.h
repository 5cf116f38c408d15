// The encoding half of `fathom tokenize`: texts in, ids out, in the order of the texts whatever the threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/parallel.h"
#include "base/result.h"
#include "cli/text_codec.h"

namespace fathom::cli {

enum class EncodeOutput : uint8_t {
  kTokens,  // a line a token: id, tab, its text as a JSON string
  kIds,     // a JSON list of ids a text
  kCount    // one line for all texts
};

// Puts the next text into its argument; false when there is none.
using TextSource = std::function<Result<bool>(std::string&)>;

// Every text of `source` is encoded on its own, many at a time; prints on standard output. Memory: a few
// megabytes of text a thread with what is printed of it, and the longest text.
Status encode_texts(const TextCodec& codec, text::EncodeOptions options, EncodeOutput output,
                    const TextSource& source, Parallel& threads);

// Reads all texts, encodes them `rounds` times, and prints how fast each round was: ids are made and thrown
// away.
Status time_encoding(const TextCodec& codec, text::EncodeOptions options, int rounds,
                     const TextSource& source, Parallel& threads);

}  // namespace fathom::cli
