#include "cli/bench/serving_row.h"

#include "cli/bench/latency.h"
#include "cli/bench/markdown_table.h"
#include "cli/figures.h"

namespace fathom::cli::bench {

namespace {

struct LatencyName {
  const char *key, *said;
};
constexpr LatencyName kLatencies[] = {
    {"ttft", "time to first token"}, {"itl", "inter-token latency"}, {"e2el", "end-to-end latency"}};
constexpr const char* kOf[] = {"mean", "p50", "p95", "p99", "max"};

std::string key_of(const char* of, const LatencyName& name) {
  return std::string(of) + "_" + name.key + "_ms";
}

void add_latency(Json& row, const LatencyName& name, const std::vector<double>& seconds) {
  const std::optional<Latency> latency = latency_of(seconds);
  const auto in_ms = [&](double Latency::*value) { return latency ? Json(1e3 * (*latency).*value) : Json(); };
  constexpr double Latency::*kValues[] = {&Latency::mean, &Latency::p50, &Latency::p95, &Latency::p99,
                                          &Latency::most};
  for (size_t i = 0; i < std::size(kOf); ++i) row[key_of(kOf[i], name)] = in_ms(kValues[i]);
}

std::string figure(const Json& row, const std::string& key, int digits) {
  return row.at(key).is_null() ? "-" : rounded(row.at(key).get<double>(), digits);
}

std::string number(const Json& row, const char* key) { return std::to_string(row.at(key).get<int64_t>()); }

std::string in_mib(const Json& row, const char* key) {
  return rounded(row.at(key).get<double>() / (1 << 20), 1) + " MiB";
}

std::string head(const Json& row) {
  return row.at("model").get<std::string>() + ", " + row.at("dtype").get<std::string>() + ", " +
         number(row, "n_threads") + " threads";
}

std::string rates_table(const std::vector<Json>& rows) {
  MarkdownTable table({"model", "requests", "seconds", "requests/s", "input tokens/s", "output tokens/s",
                       "rows a pass", "sequences", "preemptions", "found read", "states at most"});
  for (const Json& row : rows) {
    table.add({head(row), number(row, "completed"), figure(row, "duration", 2),
               figure(row, "request_throughput", 3), figure(row, "input_throughput", 1),
               figure(row, "output_throughput", 1), figure(row, "rows_per_pass", 1),
               number(row, "max_running"), number(row, "preemptions"), number(row, "cached_tokens"),
               in_mib(row, "state_bytes_max")});
  }
  return table.text();
}

std::string latency_table(const std::vector<Json>& rows) {
  MarkdownTable table({"ms", "model", "mean", "p50", "p95", "p99", "max"});
  for (const LatencyName& name : kLatencies) {
    for (const Json& row : rows) {
      std::vector<std::string> cells = {name.said, head(row)};
      for (const char* of : kOf) cells.push_back(figure(row, key_of(of, name), 1));
      table.add(std::move(cells));
    }
  }
  return table.text();
}

std::string load_line(const Json& row) {
  const bool closed = row.at("request_rate").is_string();
  std::string text = number(row, "n_requests") + " requests, ";
  text += closed ? "sent when there is a place" : figure(row, "request_rate", 3) + " a second (Poisson)";
  if (!row.at("max_concurrency").is_null())
    text += ", up to " + number(row, "max_concurrency") + " under way";
  text += "; prompts of " + number(row, "random_prefix_len") + " + " + number(row, "random_input_len") +
          " tokens, texts of " + number(row, "random_output_len") + ", within " +
          rounded(100 * row.at("random_range_ratio").get<double>(), 0) + " %; seed " +
          std::to_string(row.at("seed").get<uint64_t>()) + "; up to " + number(row, "max_sequences") +
          " sequences at once, passes of " + number(row, "n_batch") + " rows, " + in_mib(row, "memory") +
          " for states, " + in_mib(row, "prefix_cache") + " of it for beginnings.\n";
  return text;
}

std::string markdown(const std::vector<Json>& rows) {
  std::string text = rates_table(rows) + "\n" + latency_table(rows);
  if (rows.empty()) return text;
  const Json& first = rows.front();
  text += "\n" + load_line(first) + first.at("cpu_info").get<std::string>() + ", kernels " +
          first.at("isa").get<std::string>() + ", fathom " + first.at("build_version").get<std::string>() +
          " (" + first.at("build_commit").get<std::string>() + ").\n";
  for (const Json& row : rows) {
    if (row.at("weights") == "random") text += head(row) + ": weights are random.\n";
    if (row.at("stopped").get<bool>())
      text += head(row) + ": stopped after " + number(row, "completed") + " of " + number(row, "n_requests") +
              " requests; figures are of what had been measured.\n";
  }
  return text;
}

}  // namespace

Json serving_row_of(const Environment& environment, const ModelFacts& facts, const ServingRun& run) {
  const Load& load = run.load;
  const ServingResult& result = run.result;
  const auto a_second = [&](int64_t count) {
    return result.seconds > 0 ? Json(static_cast<double>(count) / result.seconds) : Json();
  };
  Json row = head_of_row(environment, facts);
  row.update(Json{
      {"test", "serve" + std::to_string(load.requests)},
      {"n_requests", load.requests},
      {"request_rate", load.closed() ? Json("inf") : Json(load.rate)},
      {"max_concurrency", load.concurrency > 0 ? Json(load.concurrency) : Json()},
      {"random_prefix_len", load.prefix},
      {"random_input_len", load.input},
      {"random_output_len", load.output},
      {"random_range_ratio", load.range_ratio},
      {"seed", load.seed},
      {"max_sequences", run.max_sequences},
      {"memory", run.state_budget},
      {"prefix_cache", run.prefix_cache},
      {"stopped", result.stopped},
      {"completed", result.completed},
      {"duration", result.seconds},
      {"total_input_tokens", result.input_tokens},
      {"total_output_tokens", result.output_tokens},
      {"request_throughput", a_second(result.completed)},
      {"input_throughput", a_second(result.input_tokens)},
      {"output_throughput", a_second(result.output_tokens)},
      {"total_token_throughput", a_second(result.input_tokens + result.output_tokens)},
      {"passes", run.counts.passes},
      {"rows_per_pass", run.counts.passes > 0 ? Json(static_cast<double>(run.counts.rows) /
                                                     static_cast<double>(run.counts.passes))
                                              : Json()},
      {"max_running", result.most_running},
      {"preemptions", run.counts.preemptions},
      {"read_again", run.counts.read_again},
      {"cached_tokens", run.counts.cached},
      {"state_bytes_max", run.most_state_bytes},
  });
  const std::vector<double>* samples[] = {&result.first_token, &result.between, &result.all};
  for (size_t i = 0; i < std::size(kLatencies); ++i) add_latency(row, kLatencies[i], *samples[i]);
  return row;
}

std::string serving_text(const std::vector<Json>& rows, Format format) {
  return format == Format::kMarkdown ? markdown(rows) : to_text(rows, format);
}

}  // namespace fathom::cli::bench
