#include "eval/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "eval/statistics.h"

namespace fathom::eval {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kVersion = "1.0";  // of the tasks whose texts these are

std::string fixed(double value, int digits) {
  if (!std::isfinite(value)) return "N/A";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(); }

using Cells = std::vector<std::string>;
const Cells kHeads = {"Tasks", "Variant", "n-shot", "Metric", "", "Value", "", "Stderr"};
const std::vector<bool> kToTheRight = {false, false, true, false, false, true, false, true};

void add_row(const std::string& name, const std::string& variant, const std::string& metric,
             const char* arrow, double value, std::vector<Cells>& rows) {
  rows.push_back({name, variant, "", metric, arrow, fixed(value, 4), "", ""});
}

void add_rows(const TaskResult& result, const std::string& name, const TaskReport& task,
              std::vector<Cells>& rows) {
  for (size_t m = 0; m < result.metrics.size(); ++m) {
    const auto& [metric, estimate] = result.metrics[m];
    rows.push_back({m == 0 ? name : "", m == 0 ? std::string(task.form) : "",
                    m == 0 ? std::to_string(task.shots) : "", std::string(name_of(metric)),
                    higher_is_better(metric) ? "↑" : "↓", fixed(estimate.value, 4), "±",
                    fixed(estimate.standard_error, 4)});
  }
  if (!result.measurements.empty()) {
    add_row("", "", "sd of " + std::to_string(result.measurements.size()), "",
            population_deviation(result.measurements), rows);
  }
  if (task.written) add_row("", "", "prompt_tokens", "", result.prompt_tokens, rows);
}

std::vector<Cells> rows_of(const Report& report) {
  std::vector<Cells> rows;
  for (const TaskReport& task : report.tasks) {
    add_rows(task.total, task.total.name, task, rows);
    const size_t prefix = task.task->name.size() + 1;
    for (const TaskResult& group : task.groups)
      add_rows(group, " - " + group.name.substr(prefix), task, rows);
  }
  if (report.packed) {
    add_row("perplexity", "rows of " + std::to_string(report.sequence_length), "nll", "↓",
            report.packed->nll(), rows);
    add_row("", "", "perplexity", "↓", std::exp(report.packed->nll()), rows);
  }
  if (report.rolling) {
    add_row("rolling", "documents", "word_perplexity", "↓", report.rolling->word_perplexity(), rows);
    add_row("", "", "byte_perplexity", "↓", report.rolling->byte_perplexity(), rows);
    add_row("", "", "bits_per_byte", "↓", report.rolling->bits_per_byte(), rows);
  }
  return rows;
}

// Characters, each taken to be one column wide.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

std::string line_of(const Cells& cells, const std::vector<size_t>& widths) {
  std::string line = "|";
  for (size_t c = 0; c < cells.size(); ++c) {
    const std::string space(widths[c] - width_of(cells[c]), ' ');
    line += kToTheRight[c] ? space + cells[c] + "|" : cells[c] + space + "|";
  }
  return line + "\n";
}

std::string table_of(const std::vector<Cells>& rows) {
  std::vector<size_t> widths;
  for (size_t c = 0; c < kHeads.size(); ++c) {
    size_t width = std::max<size_t>(3, width_of(kHeads[c]));
    for (const Cells& row : rows) width = std::max(width, width_of(row[c]));
    widths.push_back(width);
  }
  Cells rules;
  for (size_t c = 0; c < widths.size(); ++c)
    rules.push_back(std::string(widths[c] - (kToTheRight[c] ? 1 : 0), '-') + (kToTheRight[c] ? ":" : ""));
  std::string table = line_of(kHeads, widths) + line_of(rules, widths);
  for (const Cells& row : rows) table += line_of(row, widths);
  return table;
}

std::string mebibytes(int64_t bytes) { return fixed(static_cast<double>(bytes) / (1 << 20), 1) + " MiB"; }

std::string words_about(const WrittenFacts& written) {
  const Writing& writing = written.writing;
  std::string text =
      ", " + std::to_string(written.answers) + " answers of " +
      fixed(static_cast<double>(written.answer_tokens) / static_cast<double>(written.answers), 1) +
      " tokens on average, " + std::to_string(written.unfinished) + " ended at " +
      std::to_string(writing.max_tokens) + " tokens or the context's end";
  text += writing.sampling.temperature == 0 ? "; greedy"
                                            : "; temperature " + fixed(writing.sampling.temperature, 2) +
                                                  ", top_p " + fixed(writing.sampling.top_p, 2);
  text += ", seed " + std::to_string(writing.sampling.seed);
  if (writing.chat)
    text += ", chat template " + (written.chat_template.empty() ? "none" : written.chat_template);
  return text;
}

std::string lines_about(const Report& report) {
  std::string text;
  for (const TaskReport& task : report.tasks) {
    text += std::string(task.task->name) + ": " + std::to_string(task.total.items);
    text +=
        task.file.empty() ? " items drawn" : " of " + std::to_string(task.rows) + " items of " + task.file;
    if (task.written) text += words_about(*task.written);
    if (task.cut > 0) text += ", " + std::to_string(task.cut) + " requests cut at their start";
    text += "\n";
  }
  if (report.packed) {
    text += "perplexity: " + std::to_string(report.packed->predictions) + " predictions in " +
            std::to_string(report.packed->rows) + " rows of " + std::to_string(report.sequence_length) +
            " tokens\n";
  }
  if (report.rolling) {
    text += "rolling: " + std::to_string(report.rolling->documents) + " documents, " +
            std::to_string(report.rolling->tokens) + " tokens, " + std::to_string(report.rolling->words) +
            " words, " + std::to_string(report.rolling->bytes) + " bytes\n";
  }
  if (!report.routing.empty()) {
    text += "routing " + report.routing;
    text += report.routing == "topk" ? " (as published: each request is one call, unpadded)" : " (causal)";
    text += ": mean depth " + fixed(report.mean_depth, 3) + ", made by";
    for (size_t r = 0; r < report.depth_shares.size(); ++r) {
      text += (r > 0 ? ", pass " : " pass ") + std::to_string(r + 1) + " " +
              fixed(100 * report.depth_shares[r], 1) + " %";
    }
    text += " of the tokens\n";
  }
  text += std::to_string(report.rows) + " tokens run, " + fixed(report.flops_per_token / 1e6, 2) +
          " MFLOPs each, " + fixed(report.seconds, 1) + " s\n";
  text += "matrices " + report.dtype + ", keys and values " + report.kv_type;
  if (report.rounding != "fast") text += ", rounding " + report.rounding;
  if (report.state_type != "f32") text += ", states " + report.state_type;
  text += ", memory: weights " + mebibytes(report.weight_bytes) + ", states " +
          mebibytes(report.state_bytes) + ", scratch " + mebibytes(report.scratch_bytes) + "\n";
  return text;
}

// From how many tokens of context to how many.
std::pair<int64_t, int64_t> limits_of(const Report& report, size_t bucket) {
  const auto b = static_cast<int64_t>(bucket);
  return {b * report.bucket + 1, std::min((b + 1) * report.bucket, report.sequence_length)};
}

std::string table_by_context(const Report& report) {
  std::string text = "| tokens of context | predictions | nll | perplexity |\n| --- | ---: | ---: | ---: |\n";
  for (size_t b = 0; b < report.packed->by_context.size(); ++b) {
    const ContextBucket& bucket = report.packed->by_context[b];
    const auto [from, to] = limits_of(report, b);
    text += "| " + std::to_string(from) + " to " + std::to_string(to) + " | " +
            std::to_string(bucket.predictions) + " | " + fixed(bucket.nll(), 4) + " | " +
            fixed(std::exp(bucket.nll()), 4) + " |\n";
  }
  return text;
}

Json json_by_context(const Report& report) {
  Json list = Json::array();
  for (size_t b = 0; b < report.packed->by_context.size(); ++b) {
    const ContextBucket& bucket = report.packed->by_context[b];
    const auto [from, to] = limits_of(report, b);
    list.push_back({{"from", from},
                    {"to", to},
                    {"predictions", bucket.predictions},
                    {"nll", number_or_null(bucket.nll())}});
  }
  return list;
}

Json json_of(const TaskResult& result) {
  Json json;
  json["alias"] = result.name;
  for (const auto& [metric, estimate] : result.metrics) {
    const std::string name(name_of(metric));
    json[name + ",none"] = number_or_null(estimate.value);
    json[name + "_stderr,none"] = number_or_null(estimate.standard_error);
  }
  json["sample_len"] = result.items;
  if (!result.measurements.empty()) {
    json["measurements"] = result.measurements;
    json["measurements_sd"] = population_deviation(result.measurements);
  }
  if (result.prompt_tokens > 0) json["prompt_tokens"] = result.prompt_tokens;
  return json;
}

Json json_of(const WrittenFacts& written) {
  const Writing& writing = written.writing;
  return {{"samples", writing.samples},
          {"max_tokens", writing.max_tokens},
          {"context", writing.context},
          {"temperature", writing.sampling.temperature},
          {"top_k", writing.sampling.top_k},
          {"top_p", writing.sampling.top_p},
          {"min_p", writing.sampling.min_p},
          {"seed", writing.sampling.seed},
          {"chat_template", written.chat_template.empty() ? Json() : Json(written.chat_template)},
          {"answers", written.answers},
          {"answer_tokens", written.answer_tokens},
          {"unfinished", written.unfinished}};
}

void add_task(const TaskReport& task, Json& json) {
  const auto add = [&](const TaskResult& result) {
    json["results"][result.name] = json_of(result);
    json["n-shot"][result.name] = task.shots;
    json["versions"][result.name] = kVersion;
  };
  add(task.total);
  for (const TaskResult& group : task.groups) add(group);
  json["n-samples"][task.total.name] = {{"original", task.rows}, {"effective", task.total.items}};
  json["data"][task.total.name] = {
      {"file", task.file.empty() ? Json() : Json(task.file)}, {"form", task.form}, {"cut", task.cut}};
  if (task.written) json["written"][task.total.name] = json_of(*task.written);
}

}  // namespace

std::string to_table(const Report& report) {
  std::string text = table_of(rows_of(report));
  text += '\n' + lines_about(report);
  if (report.packed && report.bucket > 0) text += '\n' + table_by_context(report);
  if (report.depths) text += '\n' + to_table(*report.depths, report.agreement);
  return text;
}

Json to_json(const Report& report) {
  Json json = {{"results", Json::object()}, {"n-shot", Json::object()}, {"versions", Json::object()}};
  for (const TaskReport& task : report.tasks) add_task(task, json);
  if (report.packed) {
    json["perplexity"] = {{"nll", number_or_null(report.packed->nll())},
                          {"perplexity", number_or_null(std::exp(report.packed->nll()))},
                          {"predictions", report.packed->predictions},
                          {"rows", report.packed->rows},
                          {"sequence_length", report.sequence_length}};
    if (report.bucket > 0) json["perplexity"]["by_context"] = json_by_context(report);
  }
  if (report.depths) json["depths"] = to_json(*report.depths);
  if (report.rolling) {
    const RollingResult& rolling = *report.rolling;
    json["rolling"] = {{"word_perplexity,none", number_or_null(rolling.word_perplexity())},
                       {"byte_perplexity,none", number_or_null(rolling.byte_perplexity())},
                       {"bits_per_byte,none", number_or_null(rolling.bits_per_byte())},
                       {"log_likelihood", number_or_null(rolling.log_likelihood)},
                       {"documents", rolling.documents},
                       {"tokens", rolling.tokens},
                       {"words", rolling.words},
                       {"bytes", rolling.bytes}};
  }
  json["config"] = {{"model", report.model},
                    {"dtype", report.dtype},
                    {"kv_type", report.kv_type},
                    {"rounding", report.rounding},
                    {"state_dtype", report.state_type},
                    {"routing", report.routing.empty() ? Json() : Json(report.routing)},
                    {"longest_request", report.max_inputs}};
  json["spent"] = {{"tokens", report.rows},
                   {"flops_per_token", report.flops_per_token},
                   {"mean_depth", report.routing.empty() ? Json() : Json(report.mean_depth)},
                   {"depth_shares", report.depth_shares},
                   {"seconds", report.seconds},
                   {"weight_bytes", report.weight_bytes},
                   {"state_bytes", report.state_bytes},
                   {"scratch_bytes", report.scratch_bytes}};
  return json;
}

Json item_json(const Task& task, const Item& item) {
  Json json;
  json["task"] = item.group.empty() ? std::string(task.name) : item.group;
  json["doc_id"] = item.index;
  if (task.writing) {
    if (task.is_drawn()) json["measurement"] = item.measurement;
    json["prompt"] = item.context(0);
    json["target"] = item.continuation(0);
    return json;
  }
  json["target"] = item.gold >= 0 ? Json(item.gold) : Json(" " + item.continuation(0));
  for (size_t i = 0; i < item.requests(); ++i)
    json["arguments"].push_back({item.context(i), " " + item.continuation(i)});
  return json;
}

Json sample_json(const ScoredItem& scored) {
  Json json = item_json(scored.task, scored.item);
  for (const Score& score : scored.scores)
    json["resps"].push_back({number_or_null(score.log_likelihood), score.greedy});
  for (const std::string& answer : scored.answers) json["resps"].push_back(answer);
  for (size_t m = 0; m < scored.task.metrics.size(); ++m)
    json[std::string(name_of(scored.task.metrics[m]))] = number_or_null(scored.verdicts[m]);
  return json;
}

}  // namespace fathom::eval
