#include "cli/bench/output.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

#include "cli/bench/markdown_table.h"
#include "cli/json_text.h"

namespace fathom::cli::bench {

namespace {

std::string number(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// Four digits, never an exponent on a large one.
std::string quantity(double value) { return number(value >= 1000 ? "%.0f" : "%.4g", value); }

std::string word(const Json& row, const char* key) { return row.at(key).get<std::string>(); }
double value(const Json& row, const char* key) { return row.at(key).get<double>(); }

std::string share_cell(const Json& row) {
  return number("%.0f %% (", 100 * value(row, "share_median")) +
         number("%.0f-", 100 * value(row, "share_min")) + number("%.0f)", 100 * value(row, "share_max"));
}

std::string limit_cell(const Json& row) {
  const bool reads = row.at("limit") == "read";
  const std::string key = reads ? "read_peak" : "gemm_peak";
  const auto in_giga = [&](const std::string& name) { return quantity(1e-9 * value(row, name.c_str())); };
  return (reads ? "read " : "GEMM ") + in_giga(key) + (reads ? " GB/s (" : " GFLOP/s (") +
         in_giga(key + "_min") + "-" + in_giga(key + "_max") + ")";
}

std::string main_table(const std::vector<Json>& rows) {
  const bool many =
      std::ranges::any_of(rows, [](const Json& row) { return row.at("n_parallel").get<int64_t>() > 1; });
  std::vector<std::string> names = {"model",    "parameters",  "size",
                                    "dtype",    "kv",          "threads",
                                    "test",     "tokens/s",    "median (min-max)",
                                    "MB/token", "MFLOP/token", "share of limit",
                                    "limit"};
  if (many) names.emplace_back("tokens/s of a sequence");
  MarkdownTable table(std::move(names));
  for (const Json& row : rows) {
    const Json& bytes = row.at("bytes_per_token");
    std::vector<std::string> cells = {
        word(row, "model"),
        number("%.2f M", 1e-6 * value(row, "model_n_params")),
        number("%.2f MiB", value(row, "model_size") / (1 << 20)),
        word(row, "dtype"),
        word(row, "kv_type"),
        std::to_string(row.at("n_threads").get<int>()),
        word(row, "test"),
        number("%.2f ± ", value(row, "avg_ts")) + number("%.2f", value(row, "stddev_ts")),
        number("%.2f (", value(row, "median_ts")) + number("%.2f-", value(row, "min_ts")) +
            number("%.2f)", value(row, "max_ts")),
        bytes.is_null() ? "-" : quantity(1e-6 * bytes.get<double>()),
        quantity(1e-6 * value(row, "flops_per_token")),
        share_cell(row),
        limit_cell(row)};
    if (many) cells.push_back(number("%.2f", value(row, "median_ts_sequence")));
    table.add(std::move(cells));
  }
  return table.text();
}

// Words that differ between rows, each once.
std::string distinct(const std::vector<Json>& rows, const char* key) {
  std::vector<std::string> seen;
  for (const Json& row : rows) {
    if (row.at(key).is_null() || std::ranges::find(seen, word(row, key)) != seen.end()) continue;
    seen.push_back(word(row, key));
  }
  std::string text;
  for (const std::string& one : seen) text += (text.empty() ? "" : "; ") + one;
  return text;
}

std::string legend(const std::vector<Json>& rows) {
  const Json& first = rows.front();
  std::string text = "\n";
  text += word(first, "cpu_info") + ", kernels " + word(first, "isa") + ", fathom " +
          word(first, "build_version") + " (" + word(first, "build_commit") +
          "); repetitions: " + std::to_string(first.at("repetitions").get<int>()) + ".\n";
  text += "Read peak: " + distinct(rows, "read_loop") + ". GEMM peak: " + distinct(rows, "gemm_loop") +
          ", in registers: the arithmetic ceiling, no library's product.\n"
          "A prefill's products are divided by the GEMM peak, decoding by the peak that limits it more: "
          "bytes by\n"
          "the read peak, or products by the GEMM peak. All time is counted;\n"
          "peaks are of the same seconds as each repetition.\n";
  std::string bits;
  for (const Json& row : rows) {
    const std::string one =
        word(row, "model") + " " + word(row, "dtype") + number(" %.2f", value(row, "bits_per_weight"));
    if (word(row, "dtype") == "int4" && bits.find(one) == std::string::npos)
      bits += (bits.empty() ? "" : ", ") + one;
  }
  if (!bits.empty()) text += "Bits per weight, over all parameters: " + bits + ".\n";
  std::vector<Json> random;
  std::ranges::copy_if(rows, std::back_inserter(random),
                       [](const Json& row) { return row.at("weights") == "random"; });
  if (!random.empty()) text += "Weights are random: " + distinct(random, "model") + ".\n";
  if (const std::string fill = distinct(rows, "depth_fill"); !fill.empty())
    text += fill == "random" ? "The state at depth d was filled with random numbers.\n"
                             : "The state at depth d was filled by a prefill of d tokens.\n";
  std::string depths;
  for (const Json& row : rows) {
    if (!row.at("mean_depth").is_null())
      depths += (depths.empty() ? "" : ", ") + word(row, "model") + " " + word(row, "test") +
                number(" %.2f", value(row, "mean_depth"));
  }
  if (!depths.empty()) text += "Mean recursion depth: " + depths + ".\n";
  return text;
}

std::string profile_table(const Json& row) {
  MarkdownTable table({"op", "calls", "ms", "share of time", "rate", "share of limit"});
  for (const Json& op : row.at("profile")) {
    const bool rated = !op.at("share_of_limit").is_null();
    table.add({word(op, "op"), std::to_string(op.at("calls").get<int64_t>()),
               number("%.2f", 1e-6 * value(op, "ns")), number("%.1f %%", 100 * value(op, "share_of_time")),
               rated ? quantity(value(op, "work") / value(op, "ns")) +
                           (op.at("unit") == "bytes" ? " GB/s" : " GFLOP/s")
                     : "-",
               rated ? number("%.0f %%", 100 * value(op, "share_of_limit")) : "-"});
  }
  std::string text = "\n";
  text += word(row, "model") + ", " + word(row, "dtype") + ", " +
          std::to_string(row.at("n_threads").get<int>()) + " threads, " + word(row, "test") +
          ", one observed run:\n\n" + table.text();
  return text;
}

std::string markdown(const std::vector<Json>& rows) {
  std::string text = main_table(rows);
  if (rows.empty()) return text;
  text += legend(rows);
  for (const Json& row : rows) {
    if (!row.at("profile").is_null()) text += profile_table(row);
  }
  return text;
}

// Strings always in quotes, as llama-bench writes them.
std::string csv_cell(const Json& cell) {
  if (cell.is_null()) return "";
  if (!cell.is_string()) return cell.dump();
  std::string quoted = "\"";
  for (char c : cell.get<std::string>()) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string csv(const std::vector<Json>& rows) {
  std::string text;
  const auto add_line = [&](const Json& row, const auto& cell_of) {
    bool first = true;
    for (const auto& [key, cell] : row.items()) {
      if (key.starts_with("samples_") || key == "profile") continue;
      if (!std::exchange(first, false)) text += ',';
      text += cell_of(key, cell);
    }
    text += '\n';
  };
  for (const Json& row : rows) {
    if (text.empty()) add_line(row, [](const std::string& key, const Json&) { return key; });
    add_line(row, [](const std::string&, const Json& cell) { return csv_cell(cell); });
  }
  return text;
}

}  // namespace

std::string to_text(const std::vector<Json>& rows, Format format) {
  switch (format) {
    case Format::kMarkdown:
      return markdown(rows);
    case Format::kCsv:
      return csv(rows);
    case Format::kJson:
      return json_text(rows, 1) + "\n";
    case Format::kJsonLines:
      break;
  }
  std::string text;
  for (const Json& row : rows) text += json_text(row) + "\n";
  return text;
}

}  // namespace fathom::cli::bench
