// fathom chat as a user runs it: on a terminal of its own, and through pipes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <pty.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "cli/command_testing.h"
#include "cli/model_testing.h"
#include "plan/testing.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A program on a terminal of its own: what is typed, and what is on the screen since the last look.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& arguments) {
    winsize size = {.ws_row = 50, .ws_col = 200, .ws_xpixel = 0, .ws_ypixel = 0};
    child_ = ::forkpty(&terminal_, nullptr, nullptr, &size);
    if (child_ != 0) return;
    ::setenv("TERM", "xterm", 1);
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ~Terminal() {
    ::close(terminal_);
    if (child_ > 0) ::kill(child_, SIGKILL);
    if (child_ > 0) ::waitpid(child_, nullptr, 0);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys) {
    ASSERT_EQ(::write(terminal_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  // What came until `text` was seen, which must be within a minute.
  std::string until(const std::string& text) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (;;) {
      if (const size_t at = screen_.find(text); at != std::string::npos) {
        std::string seen = screen_.substr(0, at + text.size());
        screen_.erase(0, at + text.size());
        return seen;
      }
      if (!look() || std::chrono::steady_clock::now() > limit) {
        ADD_FAILURE() << "never saw '" << text << "' behind: " << screen_;
        return screen_;
      }
    }
  }

  // Waits until there is something on the screen, which must be within a minute.
  void until_anything() {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (screen_.empty()) {
      if (!look() || std::chrono::steady_clock::now() > limit) {
        ADD_FAILURE() << "never saw anything";
        return;
      }
    }
  }

  // The exit code, once the program has ended, which must be within a minute.
  int code() {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    int status = 0;
    while (::waitpid(child_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > limit) {
        ADD_FAILURE() << "the program goes on; on the screen: " << screen_;
        return -1;
      }
      if (!look()) ::usleep(10'000);
    }
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  // Takes what comes within a fifth of a second; false when nothing can come any more.
  bool look() {
    pollfd ready = {.fd = terminal_, .events = POLLIN, .revents = 0};
    char buffer[4096];
    if (::poll(&ready, 1, 200) <= 0) return true;
    const ssize_t got = ::read(terminal_, buffer, sizeof buffer);
    if (got > 0) screen_.append(buffer, static_cast<size_t>(got));
    return got > 0;
  }

  int terminal_ = -1;
  pid_t child_ = -1;
  std::string screen_;
};

// Some containers have none.
bool has_terminals() {
  int ours = -1, theirs = -1;
  if (::openpty(&ours, &theirs, nullptr, nullptr, nullptr) != 0) return false;
  ::close(ours);
  ::close(theirs);
  return true;
}

class ChatCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(path_);
    ModelSpec spec = testing_plan::hybrid("sambayda", 8);
    spec.max_position_embeddings = 4000;
    spec.initializer_range = 0.3;
    testing::write_random_model(model_, spec);
  }
  void TearDown() override { fs::remove_all(path_); }

  std::vector<std::string> chat(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {FATHOM_BIN_DIR "/fathom",
                                          "chat",
                                          model_,
                                          "--chat-template",
                                          "phi",
                                          "--threads",
                                          "1",
                                          "--stats",
                                          "--seed",
                                          "3"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  void talk() const;
  void interrupt() const;
  testing::Outcome run(const std::string& arguments, const std::string& streams = "2>&1") const {
    return testing::run_fathom("chat " + testing::in_folder(arguments, path_), streams);
  }
  // What a script of lines gets as answers, and the exit code.
  testing::Outcome script(const std::string& lines, const std::string& arguments = "") const {
    std::ofstream(path_ + "/lines") << testing::in_folder(lines, path_);
    return run("@model --chat-template phi -n 5 " + arguments + " < @lines", "2> /dev/null");
  }

  std::string path_ =
      (fs::temp_directory_path() / ("fathom-chat-test-" + std::to_string(::getpid()))).string();
  std::string model_ = path_ + "/model";
};

// Between the message and the line of figures behind the answer.
std::string answer_in(Terminal& terminal) {
  terminal.until("\n");
  return terminal.until("[read ");
}

// Three turns, the second of which comes again after what was said in between is forgotten; an answer that is
// interrupted; the line before by its key; an end, and a program that goes on from what was kept.
void ChatCommand::talk() const {
  const std::string kept = path_ + "/kept";
  Terminal terminal(chat({"-n", "40", "-c", "2000"}));
  terminal.until("> ");
  std::vector<std::string> answers;
  for (const char* message : {"My name is Ada.", "What is two and two?"}) {
    terminal.type(std::string(message) + "\r");
    answers.push_back(answer_in(terminal));
    terminal.until("> ");
  }
  EXPECT_NE(answers[0], answers[1]);
  terminal.type("/save " + kept + "\r");
  terminal.until("[saved ");
  terminal.until("> ");
  terminal.type("Who am I?\r");
  const std::string expected = answer_in(terminal);
  terminal.until("> ");
  terminal.type("/load " + kept + "\r");
  terminal.until("[loaded ");
  terminal.until("> ");
  terminal.type("Who am I?\r");
  EXPECT_EQ(answer_in(terminal), expected);
  terminal.until("> ");
  // The key for the line before.
  terminal.type("\x1b[A\r");
  answer_in(terminal);
  terminal.until("> ");
  terminal.type("/nonsense\r");
  terminal.until("/nonsense: no such command; /help lists them");
  terminal.until("> ");
  terminal.type("//nonsense\r");  // a message
  EXPECT_FALSE(answer_in(terminal).empty());
  terminal.until("> ");
  terminal.type("\x04");
  EXPECT_EQ(terminal.code(), 0);

  Terminal later(chat({"-n", "40", "-c", "2000", "--load", kept}));
  later.until("> ");
  later.type("Who am I?\r");
  EXPECT_EQ(answer_in(later), expected);
  later.until("> ");
  later.type("/exit\r");
  EXPECT_EQ(later.code(), 0);
}

TEST_F(ChatCommand, ThreeTurnsSaveLoadAndContinue) {
  if (!has_terminals()) GTEST_SKIP() << "this system gives no pseudo-terminal";
  talk();
}

TEST_F(ChatCommand, ATrainedModelHoldsTheSameConversation) {
  if (!has_terminals()) GTEST_SKIP() << "this system gives no pseudo-terminal";
  const std::string shared = testing_plan::shared_folder();
  if (shared.empty()) GTEST_SKIP() << "needs FATHOM_SHARED/fixtures: the trained SambaY";
  const std::string trained = shared + "/fixtures/trained/sambay";
  model_ = path_ + "/trained";
  fs::create_directories(model_);
  fs::copy_file(trained + "/config.json", model_ + "/config.json");
  fs::copy_file(trained + "/weights.safetensors", model_ + "/model.safetensors");
  talk();
  interrupt();
}

void ChatCommand::interrupt() const {
  // An answer without an end: no token of the vocabulary ends a text.
  std::ofstream(model_ + "/generation_config.json") << R"({"eos_token_id": 100000})";
  Terminal terminal(chat({"-c", "100000"}));
  terminal.until("> ");
  terminal.type("Tell me a long story.\r");
  terminal.until("\n");
  terminal.until_anything();  // the answer has begun
  terminal.type("\x03");
  terminal.until("[interrupted; what is there stays]");
  terminal.until("> ");
  terminal.type("Go on.\r");
  terminal.until("\n");
  terminal.until_anything();
  terminal.type("\x03");
  terminal.until("[interrupted; what is there stays]");
  terminal.until("> ");
  terminal.type("half a line\x03");
  terminal.until("[Ctrl-C again leaves]");
  terminal.until("> ");
  terminal.type("\x03");
  EXPECT_EQ(terminal.code(), 130);
}

TEST_F(ChatCommand, CtrlCEndsAnAnswerAndTwiceTheProgram) {
  if (!has_terminals()) GTEST_SKIP() << "this system gives no pseudo-terminal";
  interrupt();
}

TEST_F(ChatCommand, ReadsMessagesFromAPipe) {
  std::ofstream(path_ + "/messages") << "One.\nTwo, \\\nand more.\n/stats\nThree.\n/exit\nFour.\n";
  const testing::Outcome outcome = run("@model --chat-template phi -n 5 < @messages");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.text, HasSubstr("has no token <|end|>; the markers of phi are ordinary text"));
  // Only the third answer has its figures, and nothing comes behind /exit.
  EXPECT_EQ(outcome.text.find("[read "), outcome.text.rfind("[read "));
  EXPECT_NE(outcome.text.find("[read "), std::string::npos);
}

TEST_F(ChatCommand, RefusesAMessageWithoutEnd) {
  const std::string sizes[][2] = {
      {"seq -s x 14000000", "standard input: line 1 exceeds the limit of 67108864"},
      {"yes 'more, \\'", "a message is longer than the limit of 67108864"}};
  for (const auto& [command, sentence] : sizes) {
    const int made = std::system((command + " | head -c 90000000 > " + path_ + "/long").c_str());
    ASSERT_EQ(made, 0);
    const testing::Outcome outcome = run("@model --chat-template phi < @long");
    EXPECT_NE(outcome.code, 0);
    EXPECT_THAT(outcome.text, HasSubstr(sentence));
  }
}

TEST_F(ChatCommand, AFailedLoadChangesNoAnswer) {
  ASSERT_EQ(script("Something else.\n/save @kept\n").code, 0);
  std::ofstream(path_ + "/foreign") << "no conversation";
  fs::copy_file(path_ + "/kept", path_ + "/cut");
  fs::resize_file(path_ + "/cut", fs::file_size(path_ + "/kept") / 2);
  for (const char* system : {"", "--system 'You are terse.'"}) {
    const testing::Outcome expected = script("My name is Ada.\nWho am I?\n", system);
    EXPECT_EQ(expected.code, 0);
    for (const char* bad : {"none", "foreign", "cut"}) {
      const std::string load = std::string("/load @") + bad + "\n";
      const testing::Outcome tried = script(load + "My name is Ada.\n" + load + "Who am I?\n", system);
      EXPECT_EQ(tried.code, 1) << bad;
      EXPECT_EQ(tried.text, expected.text) << bad;
    }
  }
}

TEST_F(ChatCommand, TheExitCodeOfAScriptSaysThatALineFailed) {
  const std::string longer = "This message is much longer than the context.\n";
  EXPECT_EQ(script("Hi.\n/stats\n/save @kept\n/load @kept\n/clear\n/help\n").code, 0);
  EXPECT_EQ(script(longer, "-c 40").code, 1);
  EXPECT_EQ(script(longer, "-c 40 --single-turn").code, 1);
  EXPECT_EQ(script("/save @none/kept\n").code, 1);
  EXPECT_EQ(script("/nonsense\n").code, 1);
  // What follows is done all the same.
  EXPECT_EQ(script("/nonsense\nHi.\n").text, script("Hi.\n").text);
  EXPECT_NE(script("Hi.\n").text, "");
}

TEST_F(ChatCommand, AContextBeyondTheModelsIsSaid) {
  const std::string words = "@model --chat-template phi -n 1 --single-turn -p x -c ";
  EXPECT_THAT(run(words + "4001").text,
              HasSubstr("fathom chat: --context 4001 is beyond the model's longest, 4000\n"));
  EXPECT_THAT(run(words + "4000").text, Not(HasSubstr("is beyond")));
}

// Rows per call change no answer.
TEST_F(ChatCommand, TakesTheShortFormOfChunk) {
  const testing::Outcome narrow = script("My name is Ada.\n", "-b 3");
  EXPECT_EQ(narrow.code, 0);
  EXPECT_EQ(narrow.text, script("My name is Ada.\n").text);
}

TEST_F(ChatCommand, SamplesAsTheFlagsSay) {
  const std::string line = "My name is Ada.\n";
  const std::string usual = script(line, "--seed 3").text, greedy = script(line, "--temperature 0").text;
  EXPECT_EQ(script(line, "--seed 3").text, usual);
  EXPECT_NE(script(line, "--seed 4").text, usual);
  EXPECT_NE(usual, greedy);
  EXPECT_EQ(script(line, "--seed 3 --top-k 1").text, greedy);
  std::ofstream(model_ + "/generation_config.json") << R"({"do_sample": false})";
  EXPECT_EQ(script(line, "--seed 3").text, greedy);
  EXPECT_EQ(script(line, "--seed 3 --temperature 0.6").text, usual);
}

// A model in which each byte alone says which one comes next: that behind it in one of `chains`, and behind
// all others the end of the text. The embedding tells bytes apart, the head is the table, and the layer adds
// nothing.
void write_chain_model(const std::string& path, const std::vector<std::string>& chains) {
  ModelSpec spec = testing_plan::tiny();
  spec.vocab_size = 257;
  spec.hidden_size = 264;
  spec.num_hidden_layers = 1;
  spec.max_position_embeddings = 200;
  spec.tie_word_embeddings = false;
  const ModelPlan plan = *build_plan(spec);
  std::vector<size_t> next(257, 256);
  for (const std::string& chain : chains) {
    for (size_t i = 0; i + 1 < chain.size(); ++i)
      next[static_cast<uint8_t>(chain[i])] = static_cast<uint8_t>(chain[i + 1]);
  }
  std::vector<std::vector<float>> values;
  for (const Param& param : plan.params) {
    values.emplace_back(static_cast<size_t>(elements_of(param)),
                        param.role == ParamRole::kNorm ? 1.0F : 0.0F);
    for (size_t byte = 0; byte < next.size(); ++byte) {
      if (param.role == ParamRole::kEmbedding) values.back()[byte * 264 + byte] = 1;
      if (param.role == ParamRole::kHead) values.back()[next[byte] * 264 + byte] = 1;
    }
  }
  testing::write_model(path, plan,
                       [&](int32_t p) { return std::span<const float>(values[static_cast<size_t>(p)]); });
}

// Behind the marker of an answer, which is text here and ends in >, the model reasons in tags without end,
// and behind the line that ends its reasoning it says yes.
TEST_F(ChatCommand, ReasoningIsShownOrHiddenAndEndsWithItsBudget) {
  write_chain_model(path_ + "/chain", {"><think>", "\nyes."});
  const auto answer = [&](const std::string& arguments) {
    const testing::Outcome outcome =
        run("@chain --chat-template phi -p hi --single-turn --temperature 0 " + arguments, "2> /dev/null");
    EXPECT_EQ(outcome.code, 0) << arguments;
    return outcome.text;
  };
  // The budget counts the byte that closes the first tag.
  EXPECT_EQ(answer("--reasoning-budget 9"), "[reasoning] <think><\n[answer] yes.\n");
  EXPECT_EQ(answer("--reasoning-budget 10"), "[reasoning] <think><t\n[answer] yes.\n");
  EXPECT_EQ(answer("--reasoning-budget 17"), "[reasoning] <think><think><t\n[answer] yes.\n");
  EXPECT_EQ(answer("--reasoning-budget 10 --reasoning hide"), "yes.\n");
  EXPECT_EQ(answer("--reasoning-budget 10 --color always"), "\x1b[2m<think><t\x1b[0m\n\nyes.\n");
  EXPECT_EQ(answer("--reasoning-budget 0"), "yes.\n");
  EXPECT_EQ(answer("--reasoning-budget -1 -n 30"), "[reasoning] <think><think><think><t\n");
  EXPECT_EQ(answer("-n 30"), "[reasoning] <think><think><think><t\n");
  EXPECT_EQ(answer("-n 30 --reasoning hide"), "\n");
}

TEST_F(ChatCommand, CheckTensorsRefusesWeightsThatAreNoNumbers) {
  std::string refusal;
  testing::write_spoiled_model(path_ + "/spoiled", testing_plan::tiny(), refusal);
  const std::string rest = " --chat-template phi -p x --single-turn -n 1";
  EXPECT_EQ(run("@spoiled" + rest).code, 0);
  EXPECT_EQ(run("@model --check-tensors" + rest).code, 0);
  const testing::Outcome refused = run("@spoiled --check-tensors" + rest);
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.text, "fathom: " + refusal);
}

TEST_F(ChatCommand, GoesOnBehindAnAnswerOfLogitsThatAreNoNumbers) {
  std::string refusal;
  testing::write_spoiled_model(path_ + "/spoiled", testing_plan::tiny(), refusal);
  std::ofstream(path_ + "/lines") << "a" << '\0' << "\nhello\n/save " << path_ << "/kept\n";
  const testing::Outcome outcome = run("@spoiled --chat-template phi -n 3 < " + path_ + "/lines");
  EXPECT_EQ(outcome.code, 1);  // something failed
  EXPECT_THAT(outcome.text, HasSubstr("is NaN or infinite; --check-tensors of fathom generate finds"));
  EXPECT_EQ(outcome.text.find("is NaN"), outcome.text.rfind("is NaN"));  // the second message has an answer
  EXPECT_THAT(outcome.text, HasSubstr("[saved "));
  EXPECT_TRUE(fs::exists(path_ + "/kept"));
}

TEST_F(ChatCommand, HelpShowsDefaults) {
  const testing::Outcome help = run("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* part : {"(=|\\[)256", "(=|\\[)show", "(=|\\[)-1", "(=|\\[)auto", "(=|\\[)bf16",
                           "default: the model's, at most 8192", "else 0\\.6\\)", "else 0\\.95\\)"})
    EXPECT_THAT(help.text, ContainsRegex(part));
}

TEST_F(ChatCommand, RefusesInOneSentence) {
  const std::string long_name(300, 'm');
  testing::write_random_model(path_ + "/vast", testing::vast_state());
  const struct {
    std::string arguments;
    int code;
    const char* sentence;
  } cases[] = {
      {"@model -p x", 1, "has no chat template; --chat-template names one of phi, chatml"},
      {"@model --chat-template llama -p x", 2, "--chat-template"},
      {"@model --chat-template phi -p ''", 2, "--prompt: an empty text"},
      {"@model --chat-template phi --load '' -p x", 2, "--load: an empty text"},
      {"@model --chat-template phi --reasoning-budget -2 -p x", 2, "--reasoning-budget"},
      {"@model --chat-template phi --load @none -p x", 1, "none"},
      {"@model --chat-template phi --load @none --system x -p x", 2,
       "--load and --system exclude each other: a kept conversation has begun already"},
      {"@model --chat-template phi -c 10 -p 'much more than ten'", 1, "context of 10"},
      {"@nowhere --chat-template phi -p x", 1, "nowhere is not a directory"},
      {long_name + " --chat-template phi -p x", 1, "m: File name too long"},
      {"@model --chat-template phi -p x -c 1000000000000", 2,
       "'1000000000000' is not a whole number of 1 to 1073741824"},
      {"@model --chat-template phi -p x -c 9223372036854775807", 2, "is not a whole number of 1 to"},
      {"@vast --chat-template phi -p x -c 1073741824", 1,
       "a context of 1073741824 tokens, in calls of up to 256 rows, needs about "},
      {"@model --chat-template phi -p x --chunk 1000000000000", 2,
       "'1000000000000' is not a whole number of 1 to 1048576"},
      {"@model --chat-template phi -p x -t 5000", 2, "'5000' is not a whole number of 0 to 4096"},
      {"@model --chat-template phi -p x --temperature inf", 2, "'inf' is not a number of 0 to 1e+06"},
      {"@model --chat-template phi -p x --top-p nan", 2, "'nan' is not a number of 0 to 1"},
  };
  for (const auto& [arguments, code, sentence] : cases) {
    const testing::Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, code) << arguments << ": " << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr(sentence)) << arguments;
    EXPECT_THAT(outcome.text, StartsWith("fathom")) << arguments;
  }
}

}  // namespace
}  // namespace fathom::cli
