// fathom compare: training runs side by side, and a text from each.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/parallel.h"
#include "cli/commands.h"
#include "cli/depth_colors.h"
#include "cli/flag_checks.h"
#include "cli/loaded_model.h"
#include "cli/run_memory.h"
#include "cli/run_reader.h"
#include "cli/threads_flag.h"
#include "engine/generate.h"
#include "plan/count.h"

namespace fathom::cli {

namespace {

struct RunFigures {
  std::string name;
  double tokens_per_second = 0;
  // Nothing where no such line is, or has null for what is no number.
  std::optional<double> first_loss, valid_loss, mean_depth;
};

// From run.json and metrics.jsonl; tokens per second is the median over steps.
Result<RunFigures> read_figures(const std::string& directory) {
  RunFigures figures;
  FATHOM_ASSIGN(figures.name, run_name(directory));
  if (figures.name.empty()) figures.name = directory;
  std::vector<double> rates;
  double tokens = 0;
  FATHOM_TRY(read_metrics(directory, [&](const MetricsEntry& entry) -> Status {
    const auto number = [&](const char* key) {
      const auto found = entry.values.find(key);
      return found != entry.values.end() && found->is_number() ? std::optional(found->get<double>())
                                                               : std::nullopt;
    };
    if (entry.kind == "step") {
      if (rates.empty()) figures.first_loss = number("loss");
      const double read = number("tokens").value_or(0);
      rates.push_back((read - tokens) / std::max(1e-9, number("seconds").value_or(0)));
      tokens = read;
    } else if (entry.kind == "evaluation") {
      figures.valid_loss = number("nll_threshold");
      figures.mean_depth = number("mean_depth");
    }
    return {};
  }));
  if (rates.empty()) return invalid(directory + "/metrics.jsonl holds no step");
  std::nth_element(rates.begin(), rates.begin() + static_cast<int64_t>(rates.size() / 2), rates.end());
  figures.tokens_per_second = rates[rates.size() / 2];
  return figures;
}

// What is not known is a dash.
std::string format(const char* pattern, std::optional<double> value) {
  if (!value) return "-";
  char text[64];
  std::snprintf(text, sizeof text, pattern, *value);
  return text;
}

std::optional<double> percent(std::optional<double> part, std::optional<double> whole) {
  return part && whole && *whole > 0 ? std::optional(100 * *part / *whole) : std::nullopt;
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width(rows.front().size());
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], row[c].size());
  }
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string pad(width[c] - row[c].size(), ' ');
      std::cout << (c == 0 ? row[c] + pad : "  " + pad + row[c]);
    }
    std::cout << "\n";
  }
}

struct Flags {
  std::vector<std::string> runs;
  std::string prompt = "once upon a time", color = "auto";
  int64_t tokens = 120, context = 256;
  uint64_t seed = 1;
  int threads = 0;
};

struct Compared {
  std::string name;
  LoadedModel model;
  std::vector<int32_t> prompt;
};

// What the text of a run begins with; none where no texts are wanted.
Result<std::vector<int32_t>> prompt_of(const LoadedModel& model, const Flags& flags) {
  if (flags.tokens == 0) return std::vector<int32_t>{};
  FATHOM_ASSIGN(std::vector<int32_t> ids, model.codec.encode_prompt(flags.prompt, model.codec.end_of_text()));
  const int64_t longest = model.plan.dims.max_positions;
  if (static_cast<int64_t>(ids.size()) >= longest) {
    return invalid("the prompt has " + std::to_string(ids.size()) +
                   " tokens, which leaves no room in the model's context of " + std::to_string(longest));
  }
  return ids;
}

// A text from the model; tokens of routed models in the colour of their depth.
Result<std::string> sample_text(const Compared& compared, const Flags& flags, bool color, Parallel& pool) {
  const LoadedModel& model = compared.model;
  std::vector<int32_t> ids = compared.prompt;
  const auto rows = static_cast<int64_t>(ids.size());
  const int64_t tokens = std::min(flags.tokens, model.plan.dims.max_positions - rows);
  Executor executor(model.plan, *model.weights, rows, rows + tokens, pool);
  Generator generator(executor, model.plan, rows);
  SequenceState state = executor.make_state(DType::kF32);
  const int most = most_passes(model.plan);
  GenerateRequest request;
  request.prompt = compared.prompt;
  request.max_tokens = tokens;
  request.sampling = {.temperature = 0.7F, .top_k = 40, .top_p = 0.95F, .seed = flags.seed};
  request.stop_tokens = model.end_ids;
  request.want_depths = most > 0;
  FATHOM_ASSIGN(const GenerateResult result,
                generator.run(state, request, [](const GeneratedToken&) { return true; }));
  for (const GeneratedToken& token : result.tokens) ids.push_back(token.token);
  TextCodec::Stream stream(model.codec);
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string piece = stream.push(ids[i]);
    const bool known = most > 0 && color && i < result.depths.size();
    text += known ? in_depth_color(piece, result.depths[i], most) : piece;
  }
  text += stream.finish();
  if (most > 0 && color) text += "\n(" + depth_legend(most) + ")";
  return text;
}

Result<int> run(const Flags& flags) {
  std::vector<std::vector<std::string>> table = {{"model", "parameters", "unique", "FLOPs/token",
                                                  "state B/token", "state B/seq", "tokens/s", "first loss",
                                                  "valid loss", "of first", "mean depth"}};
  std::vector<Compared> all;
  for (const std::string& directory : flags.runs) {
    FATHOM_ASSIGN(const RunFigures figures, read_figures(directory));
    FATHOM_ASSIGN(LoadedModel model, load_model(directory, MatrixChoice{}));
    Result<std::vector<int32_t>> prompt = prompt_of(model, flags);
    if (!prompt.ok()) return at(directory, std::move(prompt).error());
    const ParameterCount count = count_parameters(model.plan);
    const StateBytes state = count_state(model.plan, DType::kBF16);
    table.push_back({figures.name, format("%.2f M", static_cast<double>(count.total) / 1e6),
                     format("%.2f M", static_cast<double>(count.unique) / 1e6),
                     format("%.2f M", count_flops(model.plan, flags.context).total() / 1e6),
                     std::to_string(state.per_token), std::to_string(state.per_sequence),
                     format("%.0f", figures.tokens_per_second), format("%.3f", figures.first_loss),
                     format("%.3f", figures.valid_loss),
                     format("%.0f %%", percent(figures.valid_loss, figures.first_loss)),
                     figures.mean_depth > 0.0 ? format("%.2f", figures.mean_depth) : "-"});
    all.push_back({figures.name, std::move(model), std::move(prompt).value()});
  }
  print_table(table);
  std::cout << "parameters: as if unrolled; FLOPs: forward at " << flags.context
            << " tokens; state: bf16 cache; tokens/s: training, median step; valid loss: causal routing\n";
  if (flags.tokens == 0) return kExitOk;
  const bool color = flags.color == "always" || (flags.color == "auto" && ::isatty(STDOUT_FILENO) != 0);
  ThreadPool pool(threads_or_all(flags.threads));
  for (const Compared& compared : all) {
    Result<std::string> text = sample_text(compared, flags, color, pool);
    if (!text.ok()) return at(compared.name, std::move(text).error());
    std::cout << "\n--- " << compared.name << "\n" << *text << "\n";
  }
  return kExitOk;
}

}  // namespace

Action declare_compare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("RUN", flags->runs, "directories of training runs")->required();
  app.add_option("--prompt,-p", flags->prompt, "where the texts begin")->capture_default_str();
  app.add_option("--max-tokens,-n", flags->tokens,
                 "length of the texts, which end with the model's context; 0 prints the table only")
      ->check(whole_number(0))
      ->capture_default_str();
  app.add_option("--seed", flags->seed, "of the texts")->check(seed_number())->capture_default_str();
  app.add_option("--context,-c", flags->context, "for the count of FLOPs")
      ->check(whole_number(1, kMostContext))
      ->capture_default_str();
  add_threads_flag(app, flags->threads);
  app.add_option("--color", flags->color, "depths in colour")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  return [flags] { return run(*flags); };
}

}  // namespace fathom::cli
