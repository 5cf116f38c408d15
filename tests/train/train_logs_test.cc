// metrics.csv and the TensorBoard files of whole, resumed and killed runs.
#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "io/event_file.h"
#include "small_run.h"

namespace fathom::testing {
namespace {

namespace fs = std::filesystem;

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Columns of a CSV file by name.
std::map<std::string, std::vector<std::string>> columns(const std::string& path) {
  std::istringstream lines(content(path));
  const auto split = [](const std::string& line) {
    std::vector<std::string> words(1);
    for (const char c : line) {
      if (c == ',') {
        words.emplace_back();
      } else {
        words.back().push_back(c);
      }
    }
    return words;
  };
  std::string line;
  std::getline(lines, line);
  const std::vector<std::string> names = split(line);
  std::map<std::string, std::vector<std::string>> found;
  while (std::getline(lines, line)) {
    const std::vector<std::string> values = split(line);
    EXPECT_EQ(values.size(), names.size()) << line;
    for (size_t c = 0; c < std::min(names.size(), values.size()); ++c) found[names[c]].push_back(values[c]);
  }
  return found;
}

// Steps of all events that hold the tag, files in order of name.
std::vector<int64_t> steps_with(const std::string& directory, const std::string& tag) {
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().filename().string().find("tfevents") != std::string::npos) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  std::vector<int64_t> steps;
  for (const std::string& file : files) {
    const std::string bytes = content(file);
    for (std::string_view rest = bytes; !rest.empty();) {
      const std::optional<EventFrame> frame = read_event(rest);
      if (!frame) {
        ADD_FAILURE() << file << ": a damaged frame";
        break;
      }
      if (frame->message.find(tag) != std::string_view::npos) steps.push_back(frame->step);
      rest.remove_prefix(frame->bytes);
    }
  }
  return steps;
}

std::vector<int64_t> upto(int64_t last) {
  std::vector<int64_t> steps;
  for (int64_t step = 1; step <= last; ++step) steps.push_back(step);
  return steps;
}

TEST(TrainLogs, TheTableHoldsWhatTheLogHolds) {
  const SmallRun small("train-logs-table", "mor-middle_cycle-nr3");
  ASSERT_EQ(small.train("run", {"--train.eval_every=6"}).code, 0);
  const auto table = columns(small.path("run/metrics.csv"));
  size_t row = 0;
  for (const nlohmann::json& entry : small.metrics("run")) {
    if (entry["kind"] == "checkpoint") continue;
    const bool is_step = entry["kind"] == "step";
    EXPECT_EQ(std::stoll(table.at("step")[row]), entry["step"].get<int64_t>() + (is_step ? 1 : 0));
    const auto same = [&](const char* column, double value) {
      EXPECT_EQ(std::stod(table.at(column)[row]), value) << column << " of line " << row;
    };
    if (is_step) {
      for (const char* name :
           {"loss", "loss_total", "grad_norm", "learning_rate", "tokens", "sampling_accuracy"})
        same(name, entry[name].get<double>());
      for (size_t r = 0; r < 3; ++r)
        same(("kept_" + std::to_string(r + 1)).c_str(), entry["kept"][r].get<double>());
      EXPECT_EQ(table.at("nll")[row], "");
      EXPECT_GT(std::stod(table.at("tokens_per_second")[row]), 0);
    } else {
      for (const char* name : {"nll", "nll_threshold", "mean_depth"}) same(name, entry[name].get<double>());
      EXPECT_EQ(table.at("loss")[row], "");
    }
    ++row;
  }
  EXPECT_EQ(row, 14U);  // 12 steps, 2 evaluations
  EXPECT_EQ(table.at("step").size(), row);
}

TEST(TrainLogs, ARunThatGoesOnLeavesEachStepOnce) {
  const SmallRun small("train-logs-resume");
  ASSERT_EQ(small.train("run", {"--train.steps=7"}).code, 0);
  // As if it had been killed in the ninth step: the checkpoint of step 7 never came to be.
  fs::remove_all(small.path("run/checkpoint-7"));
  std::ofstream(small.path("run/metrics.csv"), std::ios::app) << "8,3.1";
  ASSERT_EQ(small.train("run", {"--resume"}).code, 0);
  EXPECT_EQ(steps_with(small.path("run"), "train/loss"), upto(12));
  EXPECT_EQ(steps_with(small.path("run"), "validation/nll"), std::vector<int64_t>{12});
  std::vector<int64_t> steps;
  const auto table = columns(small.path("run/metrics.csv"));
  for (size_t row = 0; row < table.at("step").size(); ++row) {
    if (!table.at("loss")[row].empty()) steps.push_back(std::stoll(table.at("step")[row]));
  }
  EXPECT_EQ(steps, upto(12));
}

}  // namespace
}  // namespace fathom::testing
