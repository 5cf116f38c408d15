#include "eval/evaluate.h"

#include <algorithm>

#include "base/check.h"
#include "eval/text_rules.h"

namespace fathom::eval {

namespace {

// The choice with the highest log-likelihood divided by its length; the first among equals.
template <class Length>
int32_t best_choice(std::span<const Score> scores, const Length& length) {
  size_t best = 0;
  const auto worth = [&](size_t i) { return scores[i].log_likelihood / length(i); };
  for (size_t i = 1; i < scores.size(); ++i) {
    if (worth(i) > worth(best)) best = i;
  }
  return static_cast<int32_t>(best);
}

double verdict_of(Metric metric, const Item& item, std::span<const Score> scores) {
  const bool has_choices = item.gold >= 0;
  switch (metric) {
    case Metric::kPerplexity:
      return scores[0].log_likelihood;
    case Metric::kExactMatch:
    case Metric::kPassAtOne:
      break;  // of written answers
    case Metric::kAcc:
      if (!has_choices) return scores[0].greedy ? 1 : 0;
      return best_choice(scores, [](size_t) { return 1.0; }) == item.gold ? 1 : 0;
    case Metric::kAccNorm:
      return best_choice(scores,
                         [&](size_t i) {
                           return static_cast<double>(count_characters(item.continuation(i)));
                         }) == item.gold
                 ? 1
                 : 0;
    case Metric::kAccBytes:
      return best_choice(scores,
                         [&](size_t i) { return static_cast<double>(item.continuation(i).size()); }) ==
                     item.gold
                 ? 1
                 : 0;
  }
  FATHOM_CHECK(false, "no metric");
  return 0;
}

Result<std::vector<Request>> requests_of(const TaskItems& items, const Item& item, RequestMaker& maker) {
  std::vector<Request> requests;
  for (size_t i = 0; i < item.requests(); ++i) {
    Result<Request> request = maker.make(item.context(i), " " + item.continuation(i));
    if (!request.ok()) return at(place_of(items, item), std::move(request).error());
    requests.push_back(std::move(request).value());
  }
  return requests;
}

// The mean of every measurement by the first metric; nothing where there is only one.
std::vector<double> measurements_of(std::span<const Item> items, std::span<const ItemVerdicts> verdicts) {
  std::vector<std::vector<double>> values;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto measurement = static_cast<size_t>(items[i].measurement);
    values.resize(std::max(values.size(), measurement + 1));
    values[measurement].push_back(verdicts[i].of_metrics[0]);
  }
  std::vector<double> means;
  for (const std::vector<double>& measured : values) means.push_back(mean_of(measured).value);
  return means.size() > 1 ? means : std::vector<double>();
}

TaskResult result_of(const Task& task, std::string name, std::span<const Item> items,
                     std::span<const ItemVerdicts> verdicts) {
  TaskResult result{.name = std::move(name), .items = static_cast<int64_t>(verdicts.size())};
  for (size_t m = 0; m < task.metrics.size(); ++m) {
    std::vector<double> values;
    for (const ItemVerdicts& item : verdicts) values.push_back(item.of_metrics[m]);
    result.metrics.push_back(
        {task.metrics[m], task.metrics[m] == Metric::kPerplexity ? perplexity_of(values) : mean_of(values)});
  }
  result.measurements = measurements_of(items, verdicts);
  for (const ItemVerdicts& item : verdicts)
    result.prompt_tokens += static_cast<double>(item.prompt_tokens) / static_cast<double>(verdicts.size());
  return result;
}

TaskResult result_of_groups(const Task& task, const std::vector<TaskResult>& groups) {
  TaskResult result{.name = std::string(task.name)};
  for (const TaskResult& group : groups) result.items += group.items;
  for (size_t m = 0; m < task.metrics.size(); ++m) {
    std::vector<Estimate> estimates;
    for (const TaskResult& group : groups) estimates.push_back(group.metrics[m].estimate);
    result.metrics.push_back({task.metrics[m], pooled(estimates)});
  }
  for (const TaskResult& group : groups) {
    result.prompt_tokens +=
        group.prompt_tokens * static_cast<double>(group.items) / static_cast<double>(result.items);
  }
  return result;
}

}  // namespace

std::string place_of(const TaskItems& items, const Item& item) {
  return (items.file.empty() ? "" : items.file + ", ") + "item " + std::to_string(item.index) +
         (item.group.empty() ? "" : " of " + item.group);
}

TaskReport report_of(const TaskItems& items, std::span<const ItemVerdicts> verdicts) {
  const Task& task = *items.task;
  TaskReport report{
      .task = &task, .file = items.file, .form = items.form, .shots = items.shots, .rows = items.rows};
  const std::span<const Item> all = items.items;
  if (task.group.empty()) {
    report.total = result_of(task, std::string(task.name), all, verdicts);
    return report;
  }
  for (size_t begin = 0; begin < all.size();) {
    size_t end = begin;
    while (end < all.size() && all[end].group == all[begin].group) ++end;
    report.groups.push_back(result_of(task, all[begin].group, all.subspan(begin, end - begin),
                                      verdicts.subspan(begin, end - begin)));
    begin = end;
  }
  report.total = result_of_groups(task, report.groups);
  return report;
}

std::vector<double> verdicts_of(const Task& task, const Item& item, std::span<const Score> scores) {
  std::vector<double> verdicts;
  for (const Metric metric : task.metrics) verdicts.push_back(verdict_of(metric, item, scores));
  return verdicts;
}

Result<int64_t> longest_request(const TaskItems& items, const TextEncoder& encoder, int64_t max_inputs) {
  RequestMaker maker(encoder, max_inputs);
  int64_t longest = 0;
  for (const Item& item : items.items) {
    FATHOM_ASSIGN(const std::vector<Request> requests, requests_of(items, item, maker));
    for (const Request& request : requests) longest = std::max(longest, request.inputs);
  }
  return longest;
}

Result<TaskReport> evaluate(const TaskItems& items, const TextEncoder& encoder, int64_t max_inputs,
                            Scorer& scorer, const std::function<Status(const ScoredItem&)>& on_item) {
  const Task& task = *items.task;
  RequestMaker maker(encoder, max_inputs);
  int64_t cut = 0;
  std::vector<ItemVerdicts> verdicts;
  for (const Item& item : items.items) {
    FATHOM_ASSIGN(const std::vector<Request> requests, requests_of(items, item, maker));
    for (const Request& request : requests) cut += request.cut ? 1 : 0;
    const std::vector<Score> scores = scorer.score(requests);
    verdicts.push_back({.of_metrics = verdicts_of(task, item, scores)});
    FATHOM_TRY(on_item({.task = task,
                        .item = item,
                        .scores = scores,
                        .answers = {},
                        .verdicts = verdicts.back().of_metrics,
                        .done = static_cast<int64_t>(verdicts.size())}));
  }
  TaskReport report = report_of(items, verdicts);
  report.cut = cut;
  return report;
}

}  // namespace fathom::eval
