// Small tokenizers and random texts for tests.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/random.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace fathom::text::testing {

using Json = nlohmann::json;

// A byte-level tokenizer.json: ids 0-255 are the bytes, then " t", "he", " the", "in"; 300 is <|end|>,
// special.
inline Json small_json() {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocab[to_byte_characters(std::string(1, static_cast<char>(byte)))] = byte;
  }
  Json merges = Json::array();
  const auto learn = [&](const std::string& left, const std::string& right) {
    const int id = static_cast<int>(vocab.size());
    vocab[to_byte_characters(left + right)] = id;
    merges.push_back({to_byte_characters(left), to_byte_characters(right)});
  };
  learn(" ", "t");
  learn("h", "e");
  learn(" t", "he");
  learn("i", "n");
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  return {{"version", "1.0"},
          {"added_tokens", {{{"id", 300}, {"content", "<|end|>"}, {"special", true}}}},
          {"pre_tokenizer", byte_level},
          {"decoder", byte_level},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

inline Tokenizer make(const Json& json) {
  Result<Tokenizer> tokenizer = Tokenizer::from_json(json.dump());
  if (!tokenizer.ok()) throw std::runtime_error(tokenizer.error().message);
  return std::move(tokenizer).value();
}

inline std::string random_bytes(RandomStream& random, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += static_cast<char>(random.next_below(256));
  return out;
}

// Characters of one to four bytes, many of them letters, spaces and line feeds.
inline std::string random_text(RandomStream& random, size_t characters) {
  constexpr uint32_t kLimits[] = {0x80, 0x800, 0xD800, 0x110000};
  constexpr std::string_view kCommon = "the int in 12 'll\n\t  <|end|>";
  std::string out;
  for (size_t i = 0; i < characters; ++i) {
    if (random.next_below(2) == 0) {
      out += kCommon[random.next_below(kCommon.size())];
      continue;
    }
    auto character = static_cast<char32_t>(random.next_below(kLimits[random.next_below(4)]));
    if (character >= 0xD800 && character < 0xE000) character = 0xFFFD;
    append_utf8(character, out);
  }
  return out;
}

}  // namespace fathom::text::testing
