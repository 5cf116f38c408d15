// Text or token files as packed rows, for measuring how well a model predicts them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "cli/text_codec.h"
#include "data/packed_rows.h"
#include "data/text_documents.h"

namespace fathom::cli {

struct PackSettings {
  TextSettings text;
  int64_t length = 0, stride = 0;  // tokens of a row, and from one row to the next
  int64_t vocab_size = 0;          // of the model
  // What is wanted; 0: all. Text is read up to the document with which there are as many rows.
  int64_t rows = 0;
  Parallel* threads = nullptr;  // that make ids and check files; null: the calling one
};

// `paths` as data.valid of a recipe: text files and folders, token shards (.tokens), packed or headerless ids
// (.bin). Documents of text end with the tokenizer's token for it, and special tokens written in text are
// plain text, as in training. Text becomes a shard in `scratch`, behind the token files.
Result<PackedRows> pack_texts(const std::vector<std::string>& paths, const TextCodec& codec,
                              const PackSettings& settings, const std::string& scratch);

}  // namespace fathom::cli
