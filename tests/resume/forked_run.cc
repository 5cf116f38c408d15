#include "forked_run.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

#include "base/check.h"
#include "cli/train_commands.h"

namespace fathom::testing {

namespace {

constexpr size_t kMaxOperations = 1 << 14;

struct Record {
  FileOp kind;
  std::array<char, 207> path;
};

// What the child tells its parent even if it is killed.
struct Shared {
  int64_t count;
  std::array<Record, kMaxOperations> records;
};

Shared& shared() {
  static Shared* memory = [] {
    void* address =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FATHOM_CHECK(address != MAP_FAILED, "no shared memory");
    return static_cast<Shared*>(address);
  }();
  return *memory;
}

void note(const Operation& operation) {
  Shared& memory = shared();
  FATHOM_CHECK(memory.count < static_cast<int64_t>(kMaxOperations), "more operations than a test expects");
  Record& record = memory.records[static_cast<size_t>(memory.count)];
  record.kind = operation.kind;
  std::snprintf(record.path.data(), record.path.size(), "%s", operation.path.c_str());
  ++memory.count;
}

[[noreturn]] void be_the_trainer(const std::vector<std::string>& arguments, const Fault& fault, int output) {
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  set_file_fault([&fault](FileOp kind, const std::string& path) -> FileOutcome {
    const Operation operation{kind, path};
    const int64_t number = shared().count;
    note(operation);
    return fault ? fault(number, operation) : FileOutcome();
  });
  std::vector<std::string> words = {"fathom-train", "run"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::_exit(cli::run_train_program(static_cast<int>(words.size()), argv.data()));
}

std::string content_of(FILE* file) {
  std::string text;
  std::rewind(file);
  std::array<char, 4096> buffer{};
  while (const size_t got = std::fread(buffer.data(), 1, buffer.size(), file))
    text.append(buffer.data(), got);
  return text;
}

ForkedRun run(const std::vector<std::string>& arguments, const Fault& fault, double limit) {
  FILE* output = std::tmpfile();
  FATHOM_CHECK(output != nullptr, "no temporary file");
  shared().count = 0;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  FATHOM_CHECK(child >= 0, "cannot fork");
  if (child == 0) be_the_trainer(arguments, fault, ::fileno(output));
  if (limit >= 0) {
    std::this_thread::sleep_for(std::chrono::duration<double>(limit));
    ::kill(child, SIGKILL);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) FATHOM_CHECK(errno == EINTR, "cannot wait");
  ForkedRun result;
  result.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  if (!result.killed) result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.text = content_of(output);
  std::fclose(output);
  for (size_t i = 0; i < static_cast<size_t>(shared().count); ++i) {
    const Record& record = shared().records[i];
    result.operations.push_back({record.kind, record.path.data()});
  }
  return result;
}

}  // namespace

std::string to_string(const Operation& operation) {
  constexpr std::array kNames = {"open",   "write", "fsync", "close", "rename",
                                 "unlink", "mkdir", "read",  "lock"};
  return std::string(kNames.at(static_cast<size_t>(operation.kind))) + " " + operation.path;
}

ForkedRun run_forked(const std::vector<std::string>& arguments, const Fault& fault) {
  return run(arguments, fault, -1);
}

ForkedRun run_forked_for(double seconds, const std::vector<std::string>& arguments) {
  return run(arguments, {}, seconds);
}

Fault die_at(int64_t number, bool torn) {
  return [number, torn, is_torn = false](int64_t at, const Operation& operation) mutable -> FileOutcome {
    if (is_torn || (at == number && (!torn || operation.kind != FileOp::kWrite))) {
      ::kill(::getpid(), SIGKILL);
      for (;;) ::pause();
    }
    if (at < number) return 0;
    is_torn = true;
    return FileOutcome::shortened(5);
  };
}

}  // namespace fathom::testing
