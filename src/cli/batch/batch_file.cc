#include "cli/batch/batch_file.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/json.h"
#include "cli/json_text.h"

namespace fathom::cli::batch {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr size_t kLongestId = 512;

Result<std::string> string_of(const json& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end()) return invalid(std::string("has no ") + key);
  if (!at->is_string()) return invalid(std::string(key) + " is " + kind_of(*at) + ", expected a string");
  return at->get<std::string>();
}

}  // namespace

uint64_t hash_of(std::string_view custom_id) {
  uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  for (const char c : custom_id) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3U;
  return hash;
}

std::string hex_of(uint64_t hash) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return text.data();
}

Result<BatchLine> read_batch_line(std::string_view line) {
  FATHOM_ASSIGN(json object, parse_json(line));
  if (!object.is_object()) return invalid("is " + kind_of(object) + ", expected an object");
  BatchLine read;
  FATHOM_ASSIGN(read.custom_id, string_of(object, "custom_id"));
  if (read.custom_id.empty() || read.custom_id.size() > kLongestId)
    return invalid("custom_id has " + std::to_string(read.custom_id.size()) + " bytes, expected 1 to " +
                   std::to_string(kLongestId));
  if (object.contains("method") && object["method"] != "POST")
    return invalid("method is " + object["method"].dump() + ", expected \"POST\"");
  FATHOM_ASSIGN(const std::string url, string_of(object, "url"));
  if (url != "/v1/completions" && url != "/v1/chat/completions")
    return invalid("url is " + json(url).dump() +
                   ", expected \"/v1/completions\" or \"/v1/chat/completions\"");
  read.chat = url == "/v1/chat/completions";
  if (!object.contains("body")) return invalid("has no body");
  read.body = std::move(object["body"]);
  return read;
}

Result<BatchInput> BatchInput::open(const std::string& path) {
  FATHOM_ASSIGN(LineReader lines, LineReader::open(path));
  return BatchInput(std::move(lines));
}

Result<std::optional<BatchLine>> BatchInput::next() {
  for (std::string line;;) {
    FATHOM_ASSIGN(const bool more, lines_.next(line));
    if (!more) return std::optional<BatchLine>();
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Result<BatchLine> read = read_batch_line(line);
    if (!read.ok()) return at(lines_.place(), read.error());
    return std::optional(std::move(*read));
  }
}

Result<int64_t> check_batch(const std::string& path) {
  FATHOM_ASSIGN(BatchInput input, BatchInput::open(path));
  std::unordered_set<std::string> seen;
  for (;;) {
    FATHOM_ASSIGN(const std::optional<BatchLine> line, input.next());
    if (!line) return static_cast<int64_t>(seen.size());
    if (!seen.insert(line->custom_id).second)
      return invalid(path + ": the custom_id " + json(line->custom_id).dump() + " is there twice");
  }
}

Result<BatchOutput> BatchOutput::open(const std::string& path) {
  std::unordered_set<std::string> done;
  int64_t failed = 0;
  if (fs::exists(fs::symlink_status(path))) {
    FATHOM_ASSIGN(LineReader lines, LineReader::open(path));
    uint64_t whole = 0;
    std::error_code unknown;
    const uint64_t size = fs::file_size(path, unknown);
    if (unknown) return io_error(path + ": " + unknown.message());
    for (std::string line;;) {
      FATHOM_ASSIGN(const bool more, lines.next(line));
      if (!more || whole + line.size() + 1 > size) break;  // the last one has no end
      whole += line.size() + 1;
      const Result<json> object = parse_json(line);
      const bool is_result = object.ok() && object->is_object() && object->contains("custom_id") &&
                             (*object)["custom_id"].is_string() && object->contains("response") &&
                             (*object)["response"].is_object();
      if (!is_result)
        return invalid(lines.place() + " is no result of a batch; name another file, or remove it");
      done.insert((*object)["custom_id"].get<std::string>());
      if ((*object)["response"].value("status_code", json()) != 200) ++failed;
    }
    if (whole < size) {
      std::error_code error;
      fs::resize_file(path, whole, error);
      if (error) return io_error(path + ": " + error.message());
    }
  }
  FATHOM_ASSIGN(OutputFile file, OutputFile::append(path));
  BatchOutput output(std::move(file));
  output.done_ = std::move(done);
  output.failed_ = failed;
  return output;
}

Status BatchOutput::write(const std::string& custom_id, int status, const nlohmann::ordered_json& body) {
  const std::string id = hex_of(hash_of(custom_id));
  const nlohmann::ordered_json line = {
      {"id", "batch_req_" + id},
      {"custom_id", custom_id},
      {"response", {{"status_code", status}, {"request_id", id}, {"body", body}}},
      {"error", nullptr}};
  FATHOM_TRY(file_.write(json_text(line) + "\n"));
  done_.insert(custom_id);
  if (status != 200) ++failed_;
  return {};
}

Status BatchOutput::close() {
  FATHOM_TRY(file_.sync());
  return file_.close();
}

}  // namespace fathom::cli::batch
