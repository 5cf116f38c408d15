// fathom chat: a conversation with a model on the terminal.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <memory>

#include "base/parallel.h"
#include "cli/chat/line_editor.h"
#include "cli/chat/session.h"
#include "cli/commands.h"
#include "cli/flag_checks.h"
#include "cli/long_context.h"
#include "cli/run_memory.h"
#include "cli/sampling_flags.h"
#include "cli/threads_flag.h"

namespace fathom::cli {

namespace {

using chat::AnswerPart;
using chat::LineEditor;
using chat::Session;
using chat::Turn;

std::atomic<bool> interrupted{false};

struct Flags {
  std::string model, chat_template, system, load, reasoning = "show", prompt, color = "auto";
  NumericFlags numeric{.usual = DType::kBF16, .kv_type = "bf16"};
  int64_t context = 0, chunk = 256, max_tokens = -1, reasoning_budget = -1;
  int threads = 0;
  kernels::SamplingParams sampling{.temperature = 0.6F, .top_p = 0.95F};
  bool single_turn = false, stats = false, check_tensors = false;
};

constexpr char kHelp[] =
    "/save FILE  keep the conversation and its state\n"
    "/load FILE  go on with one that was kept\n"
    "/clear      start anew\n"
    "/stats      say after each answer how long it took\n"
    "/exit       leave, as Ctrl-D and /quit do\n"
    "Ctrl-C ends an answer and keeps what is there. A line that ends in \\ goes on in the next one.\n"
    "A message that begins with / has another / before it.\n";

bool is_command(const std::string& line) { return line.starts_with('/') && !line.starts_with("//"); }

// Shows an answer as it comes, its reasoning apart.
class Screen {
 public:
  Screen(bool color, bool show_reasoning) : color_(color), show_reasoning_(show_reasoning) {}

  void show(const AnswerPart& part) {
    if (part.reasoning && !show_reasoning_) return;
    if (part.reasoning != reasoning_ || !begun_) turn_to(part.reasoning);
    std::cout << part.text << std::flush;
  }
  void end_if_begun() {
    if (begun_) end();
  }
  void end() {
    if (reasoning_ && color_) std::cout << "\x1b[0m";
    std::cout << "\n" << std::flush;
    reasoning_ = begun_ = false;
  }

 private:
  void turn_to(bool reasoning) {
    if (begun_) std::cout << (color_ ? "\x1b[0m\n\n" : "\n[answer] ");
    if (reasoning) std::cout << (color_ ? "\x1b[2m" : "[reasoning] ");
    reasoning_ = reasoning;
    begun_ = true;
  }
  const bool color_, show_reasoning_;
  bool reasoning_ = false, begun_ = false;
};

class Conversation {
 public:
  Conversation(Session& session, const Flags& flags, bool color)
      : session_(session), stats_(flags.stats), screen_(color, flags.reasoning == "show") {}

  Status ask(const std::string& message) {
    interrupted.store(false);
    const auto before = std::signal(SIGINT, [](int) { interrupted.store(true); });
    const Result<Turn> turn = session_.ask(message, [&](const AnswerPart& part) { screen_.show(part); });
    std::signal(SIGINT, before);
    if (!turn.ok()) {
      screen_.end_if_begun();
      return turn.error();
    }
    screen_.end();
    switch (turn->end) {
      case Turn::End::kMessage:
        break;
      case Turn::End::kInterrupted:
        std::cerr << "[interrupted; what is there stays]\n";
        break;
      case Turn::End::kLength:
        std::cerr << "[ended after --max-tokens]\n";
        break;
      case Turn::End::kContext:
        std::cerr << "[the context of " << session_.context() << " tokens is full]\n";
        break;
    }
    if (stats_) say_stats(*turn);
    return {};
  }

  // A message or a command; what fails says so and the conversation goes on. False: the user leaves.
  bool take(const std::string& line) {
    Status status;
    if (is_command(line)) {
      const size_t space = line.find(' ');
      const std::string name = line.substr(0, space);
      const size_t first = space == std::string::npos ? space : line.find_first_not_of(' ', space);
      const std::string argument =
          first == std::string::npos ? "" : line.substr(first, line.find_last_not_of(' ') + 1 - first);
      if (name == "/exit" || name == "/quit") return false;
      status = run(name, argument);
    } else {
      status = ask(line.starts_with('/') ? line.substr(1) : line);
    }
    if (!status.ok()) std::cerr << "fathom chat: " << status.error().message << "\n";
    failed_ |= !status.ok();
    return true;
  }
  bool failed() const { return failed_; }  // any of them

 private:
  Status run(const std::string& name, const std::string& argument) {
    if (name == "/save" || name == "/load") {
      if (argument.empty()) return invalid(name + ": expected a file");
      FATHOM_TRY(name == "/save" ? session_.save(argument) : session_.load(argument));
      std::cerr << "[" << (name == "/save" ? "saved " : "loaded ") << session_.tokens() << " tokens]\n";
      return {};
    }
    if (!argument.empty()) return invalid(name + ": expected nothing behind it");
    if (name == "/clear") {
      session_.clear();
    } else if (name == "/stats") {
      stats_ = !stats_;
    } else if (name == "/help") {
      std::cerr << kHelp;
    } else {
      return invalid(name + ": no such command; /help lists them");
    }
    return {};
  }

  void say_stats(const Turn& turn) const {
    const auto rate = [](int64_t tokens, double seconds) {
      return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
    };
    char text[200];
    std::snprintf(text, sizeof text, "[read %lld tokens at %.1f/s, wrote %lld at %.1f/s; %lld of %lld]\n",
                  static_cast<long long>(turn.prompt_tokens), rate(turn.prompt_tokens, turn.prefill_seconds),
                  static_cast<long long>(turn.generated_tokens),
                  rate(turn.generated_tokens, turn.decode_seconds), static_cast<long long>(session_.tokens()),
                  static_cast<long long>(session_.context()));
    std::cerr << text;
  }

  Session& session_;
  bool stats_, failed_ = false;
  Screen screen_;
};

Result<int> run(const CLI::App& app, Flags flags) {
  ThreadPool pool(threads_or_all(flags.threads));
  FATHOM_ASSIGN(const LoadedModel model,
                load_model(flags.model, flags.numeric.matrices(), flags.check_tensors, &pool));
  FATHOM_TRY(take_recommended_sampling(app, model.generation_config, flags.sampling));
  FATHOM_TRY(take_recommended_length(app, model.generation_config, flags.max_tokens));
  FATHOM_ASSIGN(const text::ChatTemplate form, chat_template_of(model, flags.chat_template));
  const bool terminal = ::isatty(STDOUT_FILENO) != 0;
  const bool color = flags.color == "always" || (flags.color == "auto" && terminal);
  FATHOM_ASSIGN(const Numerics numerics, flags.numeric.numerics(model.plan, model.matrix_type));
  constexpr int64_t kUsualContext = 8192;
  const int64_t context =
      flags.context > 0 ? flags.context : std::min(kUsualContext, model.plan.dims.max_positions);
  const int64_t chunk = std::min(flags.chunk, context);
  FATHOM_TRY(check_run_memory(model.path, model.plan, context, chunk, flags.numeric.keys()));
  say_if_beyond_longest("chat", "--context", context, model.plan);
  const chat::SessionOptions options{.context = context,
                                     .chunk = chunk,
                                     .kv_type = flags.numeric.keys(),
                                     .numerics = numerics,
                                     .max_tokens = flags.max_tokens,
                                     .reasoning_budget = flags.reasoning_budget,
                                     .sampling = flags.sampling,
                                     .system = flags.system};
  Session session(model, form, options, pool, interrupted);
  if (!session.has_markers()) {
    std::cerr << "fathom chat: the tokenizer has no token " << form.end_marker() << "; the markers of "
              << form.name() << " are ordinary text\n";
  }
  if (!flags.load.empty()) FATHOM_TRY(session.load(flags.load));
  Conversation conversation(session, flags, color);
  if (app.count("--prompt") > 0) {
    FATHOM_TRY(conversation.ask(flags.prompt));
    if (flags.single_turn) return interrupted.load() ? kExitInterrupted : kExitOk;
  }

  LineEditor editor("> ");
  if (editor.terminal())
    std::cerr << "/help lists commands, Ctrl-D leaves; matrices " << name_of(model.matrix_type) << "\n";
  bool warned = false;  // that another Ctrl-C leaves
  for (std::string line;;) {
    FATHOM_ASSIGN(const LineEditor::Got got, editor.next(line));
    if (got == LineEditor::Got::kEnd) break;
    if (got == LineEditor::Got::kInterrupt) {
      if (warned) return kExitInterrupted;
      std::cerr << "[Ctrl-C again leaves]\n";
      warned = true;
      continue;
    }
    warned = false;
    if (line.find_first_not_of(" \t\n") == std::string::npos) continue;
    const bool message = !is_command(line);
    if (!conversation.take(line) || (message && flags.single_turn)) break;
  }
  // Who sits at a terminal has seen what failed and gone on; a script sees the exit code.
  const bool seen = ::isatty(STDIN_FILENO) != 0 && !flags.single_turn;
  return conversation.failed() && !seen ? kExitFailure : kExitOk;
}

}  // namespace

Action declare_chat(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("MODEL", flags->model, "model directory, or the directory of a run")->required();
  app.add_option("--chat-template", flags->chat_template,
                 "format of the messages: phi or chatml (default: the one that the model's template writes)")
      ->check(CLI::IsMember(text::ChatTemplate::names()));
  CLI::Option* system = app.add_option("--system", flags->system,
                                       "system message (default: the template's own, if it has one)");
  app.add_option("--prompt,-p", flags->prompt, "first message of the user")->check(not_empty());
  app.add_flag("--single-turn", flags->single_turn, "leave after one answer");
  CLI::Option* load =
      app.add_option("--load", flags->load, "go on with a conversation that /save kept")->check(not_empty());
  app.add_option("--reasoning-budget", flags->reasoning_budget,
                 "tokens of an answer's reasoning, after which it is ended; -1: no limit, 0: none")
      ->check(whole_number(-1))
      ->capture_default_str();
  app.add_option("--reasoning", flags->reasoning, "show reasoning, or hide it")
      ->check(CLI::IsMember({"show", "hide"}))
      ->capture_default_str();
  app.add_option("--max-tokens,-n", flags->max_tokens,
                 "tokens of an answer at most; -1: no limit (default: the model's generation_config.json, "
                 "else this)")
      ->check(whole_number(-1))
      ->capture_default_str();
  add_sampling_flags(app, flags->sampling, SamplingDefaults::kOfModel);
  app.add_option("--context,-c", flags->context,
                 "most tokens of the conversation (default: the model's, at most 8192)")
      ->check(whole_number(1, kMostContext));
  app.add_option("--chunk,-b", flags->chunk, "rows of a prompt per call")
      ->check(whole_number(1, kMostChunk))
      ->capture_default_str();
  add_threads_flag(app, flags->threads);
  add_numeric_flags(app, flags->numeric);
  app.add_flag("--check-tensors", flags->check_tensors, "refuse weights that are not finite numbers");
  app.add_option("--color", flags->color, "of reasoning")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  app.add_flag("--stats", flags->stats, "say after each answer how long it took");
  return [flags, load, system, &app]() -> Result<int> {
    if (load->count() > 0 && system->count() > 0)
      return wrong_usage("--load and --system exclude each other: a kept conversation has begun already");
    return run(app, *flags);
  };
}

}  // namespace fathom::cli
