// Downloaded model directories that are broken: each change of a good one in the layout of
// Phi-4-mini-flash-reasoning, and the sentence that a command which loads it ends with.
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/parallel.h"
#include "cli/loaded_model.h"
#include "faults/faults.h"
#include "faults/temporary_folder.h"
#include "plan/spec_io.h"
#include "weights/fresh_weights.h"

namespace fathom::faults {
namespace {

using Files = std::map<std::string, std::string>;  // content by name
using nlohmann::json;

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kFirst = "model-00001-of-00002.safetensors";
constexpr const char* kSecond = "model-00002-of-00002.safetensors";

ModelSpec model() {
  ModelSpec spec = *load_spec(FATHOM_SOURCE_DIR "/configs/models/tiny/phi4flash.toml");
  spec.vocab_size = 4096;  // that of the tokenizer
  return spec;
}

Files contents(const std::string& folder) {
  Files files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files.emplace(entry.path().filename().string(), *read_file(entry.path().string()));
  return files;
}

Files good_directory() {
  const TemporaryFolder folder;
  SerialParallel serial;
  const ModelPlan plan = *build_plan(model());
  // The embedding alone takes 4096 * 32 * 2 bytes: the rest goes into a second file.
  constexpr uint64_t kShardBytes = 300'000;
  EXPECT_TRUE(write_fresh_weights(folder.path(), plan, 1, DType::kBF16, serial, {}, kShardBytes).ok());
  Files files = contents(folder.path());
  files["config.json"] = write_config_json(plan.spec);
  files["generation_config.json"] = R"({"eos_token_id": [0, 1], "temperature": 0.6, "top_p": 0.95})";
  for (const auto& [name, content] : contents(FATHOM_SOURCE_DIR "/data/tokenizer")) files[name] = content;
  return files;
}

// A file of tensors taken apart.
struct Shard {
  explicit Shard(const std::string& file) {
    uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof length);
    header = json::parse(file.substr(sizeof length, length));
    data = file.substr(sizeof length + length);
  }
  std::string file() const {
    const std::string text = header.dump();
    const uint64_t length = text.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + data;
  }
  // The bytes of a tensor.
  char* at(const std::string& tensor) {
    return data.data() + header[tensor]["data_offsets"][0].get<size_t>();
  }
  json header;
  std::string data;
};

// What loading the directory says, without its path.
std::string answer_of(const Files& files) {
  const TemporaryFolder folder;
  for (const auto& [name, content] : files) folder.write(name, content);
  const Result<cli::LoadedModel> loaded =
      cli::load_model(folder.path(), {.named = DType::kBF16}, /*check_tensors=*/true);
  if (loaded.ok()) return "accepted";
  const std::string& message = loaded.error().message;
  EXPECT_EQ(message.find(folder.path()), 0U) << message;
  return message.size() > folder.path().size() ? message.substr(folder.path().size() + 1) : message;
}

struct Row {
  std::string name;
  std::function<void(Files&)> spoil;
  std::string sentence;
};

// Changes of config.json.
Row config(const std::string& name, const std::function<void(json&)>& change, const std::string& sentence) {
  return {name,
          [change](Files& files) {
            json object = json::parse(files.at("config.json"));
            change(object);
            files["config.json"] = object.dump();
          },
          sentence};
}

Row shard(const std::string& name, const char* file, const std::function<void(Shard&)>& change,
          const std::string& sentence) {
  return {name,
          [file, change](Files& files) {
            Shard shard(files.at(file));
            change(shard);
            files[file] = shard.file();
          },
          sentence};
}

Row index(const std::string& name, const std::function<void(json&)>& change, const std::string& sentence) {
  return {name,
          [change](Files& files) {
            json object = json::parse(files.at(kIndex));
            change(object);
            files[kIndex] = object.dump();
          },
          sentence};
}

Row text(const std::string& name, const char* file, const std::string& content, const std::string& sentence) {
  return {name, [file, content](Files& files) { files[file] = content; }, sentence};
}

Row without(const char* file, const std::string& sentence) {
  return {std::string("no ") + file, [file](Files& files) { files.erase(file); }, sentence};
}

TEST(ModelDirectoryFaults, EachIsRefusedWithItsSentence) {
  const Files good = good_directory();
  ASSERT_TRUE(good.contains(kIndex) && good.contains(kSecond));
  ASSERT_EQ(answer_of(good), "accepted");
  const std::string norm = "model.final_layernorm.weight";
  const std::string embedding = "model.embed_tokens.weight";
  const std::vector<Row> rows = {
      without("config.json", "config.json: cannot open: No such file or directory"),
      text("an empty config.json", "config.json", "",
           "config.json: line 1, column 1: syntax error while parsing value - unexpected end of input; "
           "expected '[', '{', or a literal"),
      text("a config.json that is a list", "config.json", "[]",
           "config.json: is an array, expected an object"),
      text("a config.json cut off", "config.json", good.at("config.json").substr(0, 100),
           "config.json: line 6, column 17: syntax error while parsing value - unexpected end of input; "
           "expected '[', '{', or a literal"),
      config(
          "no hidden_size", [](json& c) { c.erase("hidden_size"); },
          "config.json: hidden_size: absent, expected an integer"),
      config(
          "no vocab_size", [](json& c) { c.erase("vocab_size"); },
          "config.json: vocab_size: absent, expected an integer"),
      config(
          "an absurd hidden_size", [](json& c) { c["hidden_size"] = int64_t{1} << 40; },
          "config.json: hidden_size: found 1099511627776, expected 1 to 1048576"),
      config(
          "an absurd vocab_size", [](json& c) { c["vocab_size"] = int64_t{1} << 62; },
          "config.json: vocab_size: found 4611686018427387904, expected 1 to 16777216"),
      config(
          "a fractional number of layers", [](json& c) { c["num_hidden_layers"] = 8.5; },
          "config.json: num_hidden_layers: found 8.5, expected an integer"),
      config(
          "nine layers", [](json& c) { c["num_hidden_layers"] = 9; },
          "config.json: num_hidden_layers: found 9, expected a multiple of 4 for phi4flash"),
      config(
          "a negative number of heads", [](json& c) { c["num_attention_heads"] = -4; },
          "config.json: num_attention_heads: found -4, expected 1 to 1048576"),
      config(
          "heads that do not divide", [](json& c) { c["num_key_value_heads"] = 3; },
          "config.json: num_key_value_heads: found 3, expected a divisor of num_attention_heads = 4"),
      config(
          "a window of 0", [](json& c) { c["sliding_window"] = 0; },
          "config.json: sliding_window: found 0, expected at least 1"),
      config(
          "too few windows",
          [](json& c) {
            c["sliding_window"] = {5, nullptr};
          },
          "config.json: sliding_window: expected an integer or a list of 8 entries"),
      config(
          "an unknown model_type", [](json& c) { c["model_type"] = "phi5"; },
          "config.json: not supported yet: model_type = \"phi5\" (supported: \"llama\", \"phi4flash\", "
          "\"fathom\")"),
      config(
          "another activation", [](json& c) { c["hidden_act"] = "gelu"; },
          "config.json: not supported yet: hidden_act = \"gelu\""),
      config(
          "weights of few bits",
          [](json& c) {
            c["quantization_config"] = {{"bits", 4}};
          },
          "config.json: not supported yet: quantization_config = {\"bits\":4}"),
      config(
          "scaled rotary positions",
          [](json& c) {
            c["rope_scaling"] = {{"type", "yarn"}};
          },
          "config.json: not supported yet: rope_scaling = {\"type\":\"yarn\"}"),
      config(
          "a wider MLP than the weights", [](json& c) { c["intermediate_size"] = 65; },
          " tensor model.layers.0.mlp.fc1.weight has shape [128, 32], expected [130, 32]"),
      config(
          "more layers than the weights", [](json& c) { c["num_hidden_layers"] = 12; },
          " tensor model.layers.6.attn.A_log is missing, expected with shape [64, 16]"),
      config(
          "a head of its own that is not there", [](json& c) { c["tie_word_embeddings"] = false; },
          " tensor lm_head.weight is missing, expected with shape [4096, 32]"),
      without(kIndex, "holds neither the weights of a model nor a checkpoint of a run"),
      without(kFirst,
              "model.safetensors.index.json: names the absent file \"model-00001-of-00002.safetensors\""),
      without(kSecond,
              "model.safetensors.index.json: names the absent file \"model-00002-of-00002.safetensors\""),
      text("an index that is no JSON", kIndex, "{",
           "model.safetensors.index.json: line 1, column 2: syntax error while parsing object key - "
           "unexpected end of input; expected string literal"),
      text("an index without a map", kIndex, "{}", "model.safetensors.index.json: no object \"weight_map\""),
      index(
          "an index that names nothing", [](json& i) { i["weight_map"] = json::object(); },
          "model.safetensors.index.json: \"weight_map\" names no tensor"),
      index(
          "a shard outside the directory", [&](json& i) { i["weight_map"][norm] = "../shard"; },
          "model.safetensors.index.json: tensor \"model.final_layernorm.weight\" is in shard \"../shard\", "
          "expected a plain file name"),
      index(
          "a shard that is a number", [&](json& i) { i["weight_map"][norm] = 1; },
          "model.safetensors.index.json: the shard of tensor \"model.final_layernorm.weight\" is an integer, "
          "expected a string"),
      index(
          "a tensor in the wrong shard", [&](json& i) { i["weight_map"][norm] = kFirst; },
          "model.safetensors.index.json: shard \"model-00001-of-00002.safetensors\" lacks the tensor "
          "\"model.final_layernorm.weight\" promised to be there"),
      index(
          "a tensor that no shard has", [](json& i) { i["weight_map"]["model.extra"] = kSecond; },
          "model.safetensors.index.json: shard \"model-00002-of-00002.safetensors\" lacks the tensor "
          "\"model.extra\" promised to be there"),
      index(
          "a tensor that the index forgets", [&](json& i) { i["weight_map"].erase(norm); },
          "model-00002-of-00002.safetensors: holds the tensor \"model.final_layernorm.weight\", which "
          "model.safetensors.index.json does not name"),
      text("an empty shard", kSecond, "",
           "model-00002-of-00002.safetensors: the file has 0 bytes, fewer than the 8 of the header length"),
      text("a shard cut in its header", kSecond, Shard(good.at(kSecond)).file().substr(0, 2000),
           "model-00002-of-00002.safetensors: header length 9677 exceeds the 1992 bytes that follow it"),
      text("a shard cut by a byte", kSecond, good.at(kSecond).substr(0, good.at(kSecond).size() - 1),
           "model-00002-of-00002.safetensors: truncated: tensors need 168064 bytes of data, the file has "
           "168063"),
      text("a shard and a byte", kSecond, good.at(kSecond) + "x",
           "model-00002-of-00002.safetensors: 1 bytes after the last tensor"),
      text("a page of an error instead of a shard", kSecond, "<!DOCTYPE html><html>Not Found</html>",
           "model-00002-of-00002.safetensors: header length 5789751444030890300 exceeds the limit of "
           "100000000"),
      text("a pointer instead of a shard", kSecond, "version https://git-lfs.github.com/spec/v1\n",
           "model-00002-of-00002.safetensors: header length 2336927755350992246 exceeds the limit of "
           "100000000"),
      shard(
          "a header and no data", kSecond, [](Shard& s) { s.data.clear(); },
          "model-00002-of-00002.safetensors: truncated: tensors need 168064 bytes of data, the file has 0"),
      shard(
          "a tensor of another type", kSecond, [&](Shard& s) { s.header[norm]["dtype"] = "I32"; },
          "model-00002-of-00002.safetensors: tensor \"model.final_layernorm.weight\" has dtype I32, expected "
          "F32, BF16 or F16"),
      shard(
          "a tensor of an unknown type", kSecond, [&](Shard& s) { s.header[norm]["dtype"] = "F4_E9"; },
          "model-00002-of-00002.safetensors: tensor \"model.final_layernorm.weight\": unknown dtype "
          "\"F4_E9\""),
      shard(
          "a transposed tensor", kSecond,
          [](Shard& s) {
            json& shape = s.header["model.layers.7.mlp.fc1.weight"]["shape"];
            std::swap(shape[0], shape[1]);
          },
          " tensor model.layers.7.mlp.fc1.weight has shape [32, 128], expected [128, 32]"),
      shard(
          "a tensor of an absurd size", kSecond,
          [&](Shard& s) {
            s.header[norm]["shape"] = {int64_t{1} << 40, int64_t{1} << 40};
          },
          "model-00002-of-00002.safetensors: tensor \"model.final_layernorm.weight\": shape [1099511627776, "
          "1099511627776] of F32 needs more than 2^64 bytes"),
      shard(
          "offsets behind the end", kSecond,
          [&](Shard& s) {
            s.header[norm]["data_offsets"] = {int64_t{1} << 50, (int64_t{1} << 50) + 128};
          },
          "model-00002-of-00002.safetensors: tensor \"model.layers.1.attn.Wqkv.bias\": data_offsets [256, "
          "512) leave a hole after the tensor before, which ends at 128"),
      {"a tensor under another name",
       [&](Files& files) {
         Shard changed(files.at(kSecond));
         changed.header["model.norm.weight"] = changed.header[norm];
         changed.header.erase(norm);
         files[kSecond] = changed.file();
         json map = json::parse(files.at(kIndex));
         map["weight_map"].erase(norm);
         map["weight_map"]["model.norm.weight"] = kSecond;
         files[kIndex] = map.dump();
       },
       " tensor model.norm.weight belongs to no parameter of this model"},
      shard(
          "a weight that is NaN", kSecond,
          [&](Shard& s) {
            const float nan = std::nanf("");
            std::memcpy(s.at(norm) + 12, &nan, sizeof nan);
          },
          "model-00002-of-00002.safetensors: tensor model.final_layernorm.weight: element 3 is not a number, "
          "expected finite values"),
      shard(
          "an infinite weight", kFirst,
          [&](Shard& s) {
            const uint16_t infinite = 0x7f80;
            std::memcpy(s.at(embedding) + 10, &infinite, sizeof infinite);
          },
          "model-00001-of-00002.safetensors: tensor model.embed_tokens.weight: element 5 is infinite, "
          "expected finite values"),
      without("tokenizer.json",
              "tokenizer.json does not exist, and a vocabulary of 4096 is not that of bytes (257)"),
      text("a tokenizer that is no JSON", "tokenizer.json", "tokens",
           "tokenizer.json: line 1, column 2: syntax error while parsing value - invalid literal"),
      text("a tokenizer without a model", "tokenizer.json", "{}", "tokenizer.json: model is missing"),
      config(
          "a smaller vocabulary than the weights", [](json& c) { c["vocab_size"] = 4000; },
          " tensor model.embed_tokens.weight has shape [4096, 32], expected [4000, 32]"),
      text("a generation_config.json that is a list", "generation_config.json", "[1]",
           "generation_config.json: is an array, expected an object"),
      text("stop tokens that are words", "generation_config.json", R"({"eos_token_id": ["end"]})",
           "generation_config.json: eos_token_id holds a string, expected a token id"),
      text("a stop token beyond 32 bits", "generation_config.json", R"({"eos_token_id": 99999999999})",
           "generation_config.json: eos_token_id holds an integer, expected a token id"),
  };
  EXPECT_GE(rows.size(), 54U);
  for (const Row& row : rows) {
    Files files = good;
    row.spoil(files);
    const std::string answer = answer_of(files);
    EXPECT_EQ(answer, row.sentence) << row.name;
    EXPECT_EQ(answer.find('\n'), std::string::npos) << row.name;
  }
}

}  // namespace
}  // namespace fathom::faults
