// Models that commands refuse: one with a weight that is not a number, one whose state fits no memory.
#pragma once

#include <cstring>
#include <fstream>
#include <limits>

#include "cli/command_testing.h"
#include "plan/testing.h"

namespace fathom::cli::testing {

// A weight of the embedding of byte 0 is not a number, and the head has weights of its own: a text without
// that byte is read as if all were well. `refusal` becomes the sentence of --check-tensors.
inline void write_spoiled_model(const std::string& path, ModelSpec spec, std::string& refusal) {
  spec.tie_word_embeddings = false;
  write_random_model(path, spec);
  const std::string tensor = "model.embed_tokens.weight", file = path + "/model.safetensors";
  const nlohmann::json header = testing_plan::safetensors_header(file);
  ASSERT_TRUE(header.contains(tensor)) << header;
  std::fstream weights(file, std::ios::binary | std::ios::in | std::ios::out);
  char length[8];
  weights.read(length, sizeof length);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, length, sizeof length);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  char bytes[sizeof nan];
  std::memcpy(bytes, &nan, sizeof nan);
  const auto begin = header[tensor]["data_offsets"][0].get<uint64_t>();
  weights.seekp(static_cast<std::streamoff>(sizeof length + header_bytes + begin));
  weights.write(bytes, sizeof bytes);
  ASSERT_TRUE(weights.flush().good());
  refusal = file + ": tensor " + tensor + ": element 0 is not a number, expected finite values\n";
}

// Few weights, and 128 KiB a token in bfloat16: the longest context that commands take needs 128 TiB, which
// no machine has.
inline ModelSpec vast_state() {
  ModelSpec spec = testing_plan::tiny();
  spec.hidden_size = spec.intermediate_size = 8;
  spec.num_hidden_layers = 32;
  spec.num_attention_heads = spec.num_key_value_heads = 8;
  spec.head_dim = 128;
  return spec;
}

}  // namespace fathom::cli::testing
