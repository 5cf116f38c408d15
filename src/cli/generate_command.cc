// fathom generate: text from a model.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <iostream>
#include <iterator>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/parallel.h"
#include "cli/commands.h"
#include "cli/depth_colors.h"
#include "cli/depth_file.h"
#include "cli/flag_checks.h"
#include "cli/json_text.h"
#include "cli/loaded_model.h"
#include "cli/long_context.h"
#include "cli/output_folder.h"
#include "cli/run_memory.h"
#include "cli/sampling_flags.h"
#include "cli/stop_strings.h"
#include "cli/threads_flag.h"
#include "engine/generate.h"
#include "plan/token_flops.h"

namespace fathom::cli {

namespace {

std::atomic<bool> interrupted{false};

struct Flags {
  std::string model, prompt, file, color = "auto", routing = "threshold";
  NumericFlags numeric{.as_stored = true};
  std::string replay_depths, record_depths;
  std::vector<std::string> stop;
  int64_t max_tokens = 128, context = 0, chunk = 256, draft_max = 0;
  int threads = 0, max_depth = 0;
  kernels::SamplingParams sampling{.temperature = 0.8F};
  double compute_budget = 0, target_latency_ms = 0;  // 0: none
  bool json = false, return_depths = false, ignore_eos = false, check_tensors = false;
  bool has_prompt = false, has_routing = false, has_color = false;
};

// The flags that contradict each other, whatever the model is.
Status check(const Flags& flags) {
  if (flags.has_prompt && !flags.file.empty()) return wrong_usage("--prompt and --file exclude each other");
  if (flags.has_color && (!flags.return_depths || flags.json))
    return wrong_usage("--color is for --return-depths without --json");
  struct Rule {
    const char* flag;
    bool given, takes_most;  // whether --max-depth may go along
  };
  const Rule rules[] = {{"--routing topk", flags.routing == "topk", true},
                        {"--replay-depths", !flags.replay_depths.empty(), false},
                        {"--compute-budget", flags.compute_budget > 0, false},
                        {"--target-latency-ms", flags.target_latency_ms > 0, false}};
  const Rule* first = nullptr;
  for (const Rule& rule : rules) {
    if (!rule.given) continue;
    if (first != nullptr)
      return wrong_usage(std::string(first->flag) + " and " + rule.flag + " exclude each other");
    first = &rule;
  }
  if (flags.draft_max > 0) {
    // Depths are given or aimed at token by token as they are drawn.
    if (first != nullptr)
      return wrong_usage(std::string("--draft-max and ") + first->flag + " exclude each other");
  }
  if (first != nullptr && !first->takes_most && flags.max_depth > 0)
    return wrong_usage(std::string(first->flag) + " and --max-depth exclude each other");
  return {};
}

Result<std::string> prompt_of(const Flags& flags) {
  if (flags.has_prompt) return flags.prompt;
  constexpr uint64_t kMostBytes = uint64_t{64} << 20;
  return flags.file.empty() ? read_standard_input(kMostBytes) : read_file(flags.file, kMostBytes);
}

// How depths are decided, from the flags.
struct DepthRule {
  RoutingMode routing = RoutingMode::kThreshold;
  std::vector<uint8_t> replay;
};

Result<DepthRule> depth_rule(const Flags& flags, const ModelPlan& plan) {
  const int most = most_passes(plan);
  DepthRule rule;
  const std::pair<const char*, bool> routed_only[] = {{"--return-depths", flags.return_depths},
                                                      {"--max-depth", flags.max_depth > 0},
                                                      {"--routing", flags.has_routing},
                                                      {"--replay-depths", !flags.replay_depths.empty()},
                                                      {"--record-depths", !flags.record_depths.empty()},
                                                      {"--compute-budget", flags.compute_budget > 0},
                                                      {"--target-latency-ms", flags.target_latency_ms > 0}};
  for (const auto& [flag, given] : routed_only) {
    if (given && most == 0) return invalid(std::string(flag) + ": this model has no routed recursion");
  }
  if (flags.routing == "topk") rule.routing = RoutingMode::kTopK;
  if (!flags.replay_depths.empty()) {
    // Tokens of a prompt that a shortcut left before the router were recorded with none.
    const int least = routes_behind_state(plan) ? 0 : 1;
    rule.routing = RoutingMode::kReplay;
    FATHOM_ASSIGN(rule.replay, read_depths(flags.replay_depths, least, most));
  }
  return rule;
}

// Most tokens of prompt and text. Error: a prompt that leaves no room for the text.
Result<int64_t> context_for(const Flags& flags, const ModelPlan& plan, int64_t prompt) {
  const int64_t longest = plan.dims.max_positions;
  say_if_beyond_longest("generate", "--context", flags.context, plan);
  const int64_t most = flags.context > 0 ? flags.context : flags.max_tokens > 0 ? longest : prompt;
  if (prompt > most || (prompt == most && flags.max_tokens > 0)) {
    return invalid("the prompt has " + std::to_string(prompt) + " tokens, which leaves no room in " +
                   (flags.context > 0 ? "--context " : "the model's context of ") + std::to_string(most));
  }
  return flags.context > 0 ? flags.context : prompt + std::min(flags.max_tokens, most - prompt);
}

const char* word_of(FinishReason reason, bool stop_string) {
  if (stop_string || reason == FinishReason::kStop) return "stop";
  return reason == FinishReason::kLength ? "length" : "cancelled";
}

// What routed tokens cost.
struct Spent {
  std::vector<double> flops;  // of each token whose depth is known, prompt first
  double mean_depth = 0;      // of generated tokens, of the prompt if there are none
  double share = 1;           // FLOPs of the same tokens over those at full depth
};

Spent spent_by(const ModelPlan& plan, const GenerateResult& result, size_t prompt) {
  Spent spent;
  TokenFlops count(plan);
  double depths = 0, flops = 0, full = 0, tokens = 0;
  const bool generated = result.depths.size() > prompt;
  for (size_t i = 0; i < result.depths.size(); ++i) {
    spent.flops.push_back(count.next(result.depths[i]));
    if (generated && i < prompt) continue;
    depths += result.depths[i];
    flops += spent.flops.back();
    full += count.full();
    ++tokens;
  }
  if (tokens == 0) return spent;
  spent.mean_depth = depths / tokens;
  spent.share = flops / full;
  return spent;
}

Result<int> run(const CLI::App& app, Flags flags) {
  FATHOM_TRY(check(flags));
  FATHOM_ASSIGN(const std::string prompt, prompt_of(flags));
  ThreadPool pool(threads_or_all(flags.threads));
  FATHOM_ASSIGN(const LoadedModel model,
                load_model(flags.model, flags.numeric.matrices(), flags.check_tensors, &pool));
  FATHOM_ASSIGN(const std::vector<int32_t> ids,
                model.codec.encode_prompt(prompt, model.end_ids.empty() ? -1 : model.end_ids.front()));
  kernels::SamplingParams sampling = flags.sampling;
  FATHOM_TRY(take_recommended_sampling(app, model.generation_config, sampling));
  FATHOM_TRY(take_recommended_length(app, model.generation_config, flags.max_tokens));
  const int most = most_passes(model.plan);
  FATHOM_ASSIGN(const DepthRule rule, depth_rule(flags, model.plan));
  if (!flags.record_depths.empty()) FATHOM_TRY(check_output_folder(flags.record_depths));

  const auto prompt_rows = static_cast<int64_t>(ids.size());
  FATHOM_ASSIGN(const int64_t context, context_for(flags, model.plan, prompt_rows));
  if (rule.routing == RoutingMode::kTopK && prompt_rows > flags.chunk) {
    return invalid("--routing topk decides over all rows of a prompt, which cannot be cut: it has " +
                   std::to_string(prompt_rows) + " tokens, --chunk is " + std::to_string(flags.chunk));
  }
  if (rule.routing == RoutingMode::kReplay && static_cast<int64_t>(rule.replay.size()) < prompt_rows) {
    return invalid(flags.replay_depths + ": holds " + std::to_string(rule.replay.size()) +
                   " depths, expected one of each of the " + std::to_string(prompt_rows) +
                   " tokens of the prompt");
  }
  const int64_t rows = std::max(std::min(flags.chunk, prompt_rows), 1 + flags.draft_max);
  FATHOM_TRY(check_run_memory(model.path, model.plan, context, rows, flags.numeric.keys()));
  FATHOM_ASSIGN(const Numerics numerics, flags.numeric.numerics(model.plan, model.matrix_type));
  Executor executor(model.plan, *model.weights, rows, context, pool, numerics);
  SequenceState state = executor.make_state(flags.numeric.keys());

  GenerateRequest request;
  request.prompt = ids;
  request.max_tokens = std::min(flags.max_tokens, context - prompt_rows);
  request.sampling = sampling;
  if (!flags.ignore_eos) request.stop_tokens = model.end_ids;
  request.max_depth = flags.max_depth;
  request.draft_tokens = flags.draft_max;
  request.want_depths = flags.return_depths;
  request.routing = rule.routing;
  request.replay_depths = rule.replay;
  if (rule.routing == RoutingMode::kReplay) {
    // The token after the last known depth can be drawn, and nothing after it.
    const int64_t known = static_cast<int64_t>(rule.replay.size()) - prompt_rows;
    request.max_tokens = std::min(request.max_tokens, known + (flags.return_depths ? 0 : 1));
  }
  DepthController controller(model.plan);
  if (flags.compute_budget > 0) controller.aim_at_budget(flags.compute_budget);
  if (flags.target_latency_ms > 0) controller.aim_at_latency(flags.target_latency_ms / 1000);
  if (controller.active()) request.controller = &controller;
  request.cancelled = &interrupted;

  TextCodec::Stream stream(model.codec);
  StopStrings stops(flags.stop);
  std::string text;
  std::signal(SIGINT, [](int) {
    interrupted.store(true);
    std::signal(SIGINT, SIG_DFL);
  });
  const bool streaming = !flags.json && !flags.return_depths;
  if (streaming) std::cout << prompt << std::flush;
  Generator generator(executor, model.plan, rows);
  const Result<GenerateResult> generated = generator.run(state, request, [&](const GeneratedToken& token) {
    const std::string ready = stops.push(stream.push(token.token));
    text += ready;
    if (streaming) std::cout << ready << std::flush;
    return !stops.stopped();
  });
  if (!generated.ok()) {
    if (streaming) std::cout << "\n" << std::flush;
    return generated.error();
  }
  const GenerateResult& result = *generated;
  if (!stops.stopped()) {
    std::string rest = stops.push(stream.finish());
    if (!stops.stopped()) rest += stops.finish();
    text += rest;
    if (streaming) std::cout << rest;
  }

  if (flags.json) {
    nlohmann::ordered_json json = {{"model", model.path},
                                   {"dtype", name_of(model.matrix_type)},
                                   {"text", text},
                                   {"prompt_tokens", ids.size()},
                                   {"finish_reason", word_of(result.finish, stops.stopped())},
                                   {"seed", sampling.seed},
                                   {"prefill_seconds", result.prefill_seconds},
                                   {"decode_seconds", result.decode_seconds},
                                   {"state_bytes", state.bytes()}};
    if (flags.draft_max > 0) {
      json["drafted_tokens"] = result.drafted;
      json["accepted_tokens"] = result.accepted;
    }
    TextCodec::Stream pieces(model.codec);
    std::vector<std::string> prompt_pieces;
    for (int32_t id : ids) prompt_pieces.push_back(pieces.push(id));
    const Spent spent = spent_by(model.plan, result, ids.size());
    nlohmann::ordered_json tokens = nlohmann::json::array();
    for (size_t i = 0; i < result.tokens.size(); ++i) {
      nlohmann::ordered_json entry = {{"id", result.tokens[i].token},
                                      {"text", pieces.push(result.tokens[i].token)},
                                      {"logprob", result.tokens[i].log_probability}};
      const size_t at = ids.size() + i;
      if (at < result.depths.size()) {
        entry["depth"] = result.depths[at];
        entry["score"] = result.scores[at];
        entry["flops"] = spent.flops[at];
      }
      tokens.push_back(std::move(entry));
    }
    if (most > 0) {
      json["routing"] = flags.replay_depths.empty() ? flags.routing : "replay";
      json["mean_depth"] = spent.mean_depth;
      json["flops_share"] = spent.share;
    }
    json["tokens"] = std::move(tokens);
    if (most > 0) {
      json["prompt_pieces"] = prompt_pieces;
      json["prompt_depths"] = std::vector<int>(
          result.depths.begin(),
          result.depths.begin() + static_cast<int64_t>(std::min(ids.size(), result.depths.size())));
    }
    std::cout << json_text(json) << "\n";
  } else if (flags.return_depths) {
    std::vector<int32_t> all = ids;
    for (const GeneratedToken& token : result.tokens) all.push_back(token.token);
    const bool color = flags.color == "always" || (flags.color == "auto" && ::isatty(STDOUT_FILENO) != 0);
    TextCodec::Stream pieces(model.codec);
    for (size_t i = 0; i < all.size(); ++i) {
      const int depth = i < result.depths.size() ? result.depths[i] : most;
      const std::string piece = pieces.push(all[i]);
      std::cout << (color ? in_depth_color(piece, depth, most) : piece + "[" + std::to_string(depth) + "]");
    }
    std::cout << pieces.finish() << "\n" << (color ? depth_legend(most) + "\n" : "");
  } else {
    std::cout << "\n";
  }
  if (!flags.record_depths.empty()) {
    const nlohmann::json depths = std::vector<int>(result.depths.begin(), result.depths.end());
    FATHOM_TRY(write_file_atomic(flags.record_depths, depths.dump() + "\n"));
  }
  return interrupted.load() ? kExitInterrupted : kExitOk;
}

}  // namespace

Action declare_generate(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("MODEL", flags->model, "model directory, or the directory of a run")->required();
  CLI::Option* prompt =
      app.add_option("--prompt,-p", flags->prompt, "text to go on from (else --file, else stdin)");
  app.add_option("--file,-f", flags->file, "read the prompt from a file")->check(not_empty());
  app.add_option("--max-tokens,-n", flags->max_tokens,
                 "tokens to generate at most (default: the model's generation_config.json, else this)")
      ->check(whole_number(0))
      ->capture_default_str();
  add_sampling_flags(app, flags->sampling, SamplingDefaults::kOfModel);
  app.add_option("--stop", flags->stop, "end at this text; may be given more than once")
      ->allow_extra_args(false)
      ->check(not_empty());
  app.add_option("--context,-c", flags->context,
                 "most tokens of prompt and text (default: the model's longest)")
      ->check(whole_number(1, kMostContext));
  app.add_option("--chunk,-b", flags->chunk, "rows of the prompt per call")
      ->check(whole_number(1, kMostChunk))
      ->capture_default_str();
  app.add_option(
         "--draft-max", flags->draft_max,
         "tokens guessed from prompt and text that are read with each token, at most: a text that repeats "
         "itself comes faster, and is the same")
      ->check(whole_number(0, kMostDraft))
      ->capture_default_str();
  add_threads_flag(app, flags->threads);
  add_numeric_flags(app, flags->numeric);
  app.add_flag("--check-tensors", flags->check_tensors, "refuse weights that are not finite numbers");
  app.add_option("--max-depth", flags->max_depth, "recursion passes at most (default: the model's)")
      ->check(whole_number(1, std::numeric_limits<uint8_t>::max()));
  CLI::Option* routing =
      app.add_option(
             "--routing", flags->routing,
             "threshold: causal; topk: as published, over the rows of each call, so that a decoded token "
             "makes all passes")
          ->check(CLI::IsMember({"threshold", "topk"}))
          ->capture_default_str();
  app.add_option("--compute-budget", flags->compute_budget,
                 "mean passes a token, as a share of the most: routing is shifted to meet it")
      ->check(between(1e-6, 1));
  app.add_option("--target-latency-ms", flags->target_latency_ms,
                 "time a token: routing is shifted to meet it")
      ->check(above(0));
  app.add_option(
         "--replay-depths", flags->replay_depths,
         "passes of each token of prompt and text: what --record-depths wrote, --json printed, or a list")
      ->check(not_empty());
  app.add_option("--record-depths", flags->record_depths, "file to write the same to, as a list of numbers")
      ->check(not_empty());
  app.add_flag("--return-depths", flags->return_depths, "show each token's recursion depth (causal routing)");
  CLI::Option* color = app.add_option("--color", flags->color, "of depths")
                           ->check(CLI::IsMember({"auto", "always", "never"}))
                           ->capture_default_str();
  app.add_flag("--ignore-eos", flags->ignore_eos, "do not end at the end-of-text token");
  app.add_flag("--json", flags->json, "one JSON object instead of text");
  return [flags, prompt, routing, color, &app]() -> Result<int> {
    flags->has_prompt = prompt->count() > 0;
    flags->has_routing = routing->count() > 0;
    flags->has_color = color->count() > 0;
    return run(app, *flags);
  };
}

}  // namespace fathom::cli
