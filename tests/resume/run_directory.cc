#include "run_directory.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "io/event_file.h"

namespace fathom::testing {

namespace {

namespace fs = std::filesystem;

const std::string kEvents = "events.out.tfevents.";

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::vector<std::string> lines;
  std::istringstream text(content_of(path));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> without_times_json(const fs::path& path) {
  std::vector<std::string> lines = lines_of(path);
  for (std::string& line : lines) {
    nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
    if (entry.is_object()) entry.erase("seconds");
    line = entry.is_discarded() ? "no JSON: " + line : entry.dump();
  }
  return lines;
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream text(line);
  for (std::string cell; std::getline(text, cell, ',');) cells.push_back(cell);
  return cells;
}

std::vector<std::string> without_times_csv(const fs::path& path) {
  std::vector<std::string> lines = lines_of(path);
  if (lines.empty()) return lines;
  const std::vector<std::string> columns = cells_of(lines.front());
  for (std::string& line : lines) {
    std::string kept;
    const std::vector<std::string> cells = cells_of(line);
    for (size_t c = 0; c < cells.size(); ++c) {
      const std::string column = c < columns.size() ? columns[c] : "a cell without a column";
      if (column != "seconds" && column != "tokens_per_second") kept += cells[c] + ",";
    }
    line = kept;
  }
  return lines;
}

// The next varint of `bytes`, which it is taken off; 0 of what is cut off.
uint64_t take_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) break;
  }
  return value;
}

// The next field that is bytes behind a key and their number.
std::string_view take_bytes(std::string_view& bytes) {
  take_varint(bytes);
  const uint64_t size = take_varint(bytes);
  const std::string_view content = bytes.substr(0, size);
  bytes.remove_prefix(content.size());
  return content;
}

// "tag=value" of every scalar of an Event as scalar_event() writes it, to the last digit; nothing of an Event
// without a summary. The wall time and scalars that say how long a step took are left out.
std::string scalars_in(std::string_view message) {
  constexpr size_t kWallTime = 9;
  message.remove_prefix(std::min(kWallTime, message.size()));
  take_varint(message);  // the key of the step, then the step
  take_varint(message);
  if (!message.starts_with("\x2A")) return "";  // the key of a summary
  std::string_view summary = take_bytes(message);
  std::string text;
  while (!summary.empty()) {
    std::string_view scalar = take_bytes(summary);
    const std::string tag(take_bytes(scalar));
    if (tag == "train/seconds" || tag == "train/tokens_per_second") continue;
    scalar.remove_prefix(std::min<size_t>(1, scalar.size()));  // the key of the value
    float value = 0;
    std::memcpy(&value, scalar.data(), std::min(sizeof value, scalar.size()));
    char number[32];
    std::snprintf(number, sizeof number, "%.9g", static_cast<double>(value));
    text += " " + tag + "=" + number;
  }
  return text;
}

// What the event files of all lives report of steps and evaluations, in order.
std::vector<std::string> events_of(const fs::path& run) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(run)) {
    if (entry.path().filename().string().starts_with(kEvents)) files.push_back(entry.path());
  }
  std::vector<std::pair<int64_t, std::string>> found;
  for (const fs::path& path : files) {
    const std::string content = content_of(path);
    std::string_view rest(content);
    while (!rest.empty()) {
      const auto frame = read_event(rest);
      if (!frame) return {path.string() + ": a broken record"};
      const std::string scalars = scalars_in(frame->message);
      if (!scalars.empty()) found.emplace_back(frame->step, scalars);
      rest.remove_prefix(frame->bytes);
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> events;
  for (const auto& [step, scalars] : found) events.push_back("step " + std::to_string(step) + scalars);
  return events;
}

std::vector<std::string> names_in(const fs::path& run) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(run)) {
    const std::string name = fs::relative(entry.path(), run).string();
    if (!name.starts_with(kEvents)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> first_difference(const std::vector<std::string>& found,
                                            const std::vector<std::string>& expected) {
  for (size_t i = 0; i < std::max(found.size(), expected.size()); ++i) {
    const std::string one = i < found.size() ? found[i] : "(nothing)";
    const std::string other = i < expected.size() ? expected[i] : "(nothing)";
    if (one != other) return "entry " + std::to_string(i) + " is " + one + ", expected " + other;
  }
  return std::nullopt;
}

// How many checkpoints a run keeps is no part of one.
std::vector<std::string> without_keep(const fs::path& path) {
  nlohmann::json state = nlohmann::json::parse(content_of(path), nullptr, false);
  if (state.is_object() && state.contains("recipe")) state["recipe"]["train"].erase("keep");
  return {state.is_discarded() ? "no JSON" : state.dump()};
}

std::optional<std::string> difference_of_files(const fs::path& run, const fs::path& expected,
                                               const std::string& name) {
  if (fs::is_directory(expected / name)) return std::nullopt;
  if (name == "metrics.jsonl")
    return first_difference(without_times_json(run / name), without_times_json(expected / name));
  if (name == "metrics.csv")
    return first_difference(without_times_csv(run / name), without_times_csv(expected / name));
  if (content_of(run / name) == content_of(expected / name)) return std::nullopt;
  return "its bytes differ";
}

}  // namespace

std::optional<std::string> difference_of_runs(const fs::path& run, const fs::path& expected) {
  const std::vector<std::string> names = names_in(expected);
  if (const auto other = first_difference(names_in(run), names)) return "files: " + *other;
  for (const std::string& name : names) {
    if (const auto other = difference_of_files(run, expected, name)) return name + ": " + *other;
  }
  if (const auto other = first_difference(events_of(run), events_of(expected)))
    return kEvents + ": " + *other;
  return std::nullopt;
}

std::optional<std::string> difference_of_checkpoints(const fs::path& run, const fs::path& all) {
  if (!fs::exists(run)) return std::nullopt;
  for (const auto& entry : fs::directory_iterator(run)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("checkpoint-") || name.find(".tmp-") != std::string::npos) continue;
    if (const auto other = first_difference(names_in(entry.path()), names_in(all / name)))
      return name + ": " + *other;
    for (const std::string& file : names_in(all / name)) {
      if (file == "trainer.json") {
        if (const auto other =
                first_difference(without_keep(entry.path() / file), without_keep(all / name / file)))
          return name + "/" + file + ": " + *other;
        continue;
      }
      if (const auto other = difference_of_files(entry.path(), all / name, file))
        return name + "/" + file + ": " + *other;
    }
  }
  return std::nullopt;
}

}  // namespace fathom::testing
