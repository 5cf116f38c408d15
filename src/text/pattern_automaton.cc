#include "text/pattern_automaton.h"

#include <algorithm>
#include <map>
#include <optional>

#include "text/regular_pattern.h"

namespace fathom::text {

namespace {

constexpr size_t kMaxInstructions = 2000;
constexpr size_t kMaxStates = 512;
constexpr size_t kMaxEntries = 1 << 15;  // of the table, so that an entry's bits suffice

struct Instruction {
  enum class Op : uint8_t {
    kSet,      // reads a character of sets[set], then the next instruction
    kFollows,  // the next instruction, if the next character is in sets[set] (negative: if it is not)
    kFork,     // instruction `first`, or else `second`
    kMatch
  };
  Op op = Op::kMatch;
  bool negative = false;
  size_t set = 0;
  size_t first = 0, second = 0;
};

using Program = std::vector<Instruction>;
using Op = Instruction::Op;

class Compiler {
 public:
  // Nothing if the program would be too long.
  std::optional<Program> run(const PatternNode& root) {
    emit(root);
    add({.op = Op::kMatch});
    if (program_.size() > kMaxInstructions) return std::nullopt;
    return std::move(program_);
  }

 private:
  size_t add(Instruction instruction) {
    program_.push_back(instruction);
    return program_.size() - 1;
  }

  void emit(const PatternNode& node) {
    if (program_.size() > kMaxInstructions) return;
    switch (node.kind) {
      case PatternNode::Kind::kSet:
        add({.op = Op::kSet, .set = node.set});
        return;
      case PatternNode::Kind::kFollows:
        add({.op = Op::kFollows, .negative = node.negative, .set = node.set});
        return;
      case PatternNode::Kind::kSequence:
        for (const PatternNode& part : node.parts) emit(part);
        return;
      case PatternNode::Kind::kChoice:
        return choice(node);
      case PatternNode::Kind::kRepeat:
        return repeat(node);
    }
  }

  void choice(const PatternNode& node) {
    std::vector<size_t> ends;
    for (size_t i = 0; i + 1 < node.parts.size(); ++i) {
      const size_t fork = add({.op = Op::kFork, .first = program_.size() + 1});
      emit(node.parts[i]);
      ends.push_back(jump());
      program_[fork].second = program_.size();
    }
    emit(node.parts.back());
    for (size_t end : ends) program_[end].first = program_[end].second = program_.size();
  }

  void repeat(const PatternNode& node) {
    for (int i = 0; i < node.min; ++i) emit(node.parts[0]);
    std::vector<size_t> forks;
    if (node.max == PatternNode::kUnbounded) {
      forks.push_back(add({.op = Op::kFork}));
      emit(node.parts[0]);
      const size_t back = jump();
      program_[back].first = program_[back].second = forks[0];
    }
    for (int i = node.min; i < node.max; ++i) {
      forks.push_back(add({.op = Op::kFork}));
      emit(node.parts[0]);
    }
    for (size_t fork : forks) {
      const size_t body = fork + 1, past = program_.size();
      program_[fork].first = node.greedy ? body : past;
      program_[fork].second = node.greedy ? past : body;
    }
  }

  size_t jump() { return add({.op = Op::kFork}); }

  Program program_;
};

// Where threads stand before they look at the next character, by priority.
using Threads = std::vector<size_t>;

class Stepper {
 public:
  Stepper(const Program& program, const CharacterClasses& classes) : program_(program), classes_(classes) {}

  // What becomes of `threads` when the next character is of this class; `matched` is set if one has arrived,
  // which ends those of lower priority.
  Threads step(const Threads& threads, size_t character_class, bool& matched) {
    class_ = character_class;
    next_.clear();
    seen_.assign(program_.size(), false);
    matched = false;
    for (size_t at : threads) {
      if (!(matched = advance(at))) continue;
      break;
    }
    return next_;
  }

 private:
  // True when a match is reached.
  bool advance(size_t at) {
    for (;;) {
      if (seen_[at]) return false;
      seen_[at] = true;
      const Instruction& instruction = program_[at];
      switch (instruction.op) {
        case Op::kMatch:
          return true;
        case Op::kSet:
          if (classes_.holds(instruction.set, class_)) next_.push_back(at + 1);
          return false;
        case Op::kFollows:
          if (classes_.holds(instruction.set, class_) == instruction.negative) return false;
          ++at;
          break;
        case Op::kFork:
          if (advance(instruction.first)) return true;
          at = instruction.second;
          break;
      }
    }
  }

  const Program& program_;
  const CharacterClasses& classes_;
  size_t class_ = 0;
  Threads next_;
  std::vector<bool> seen_;
};

// The table of all states that can be reached from the start; nothing if they are too many.
std::optional<std::vector<uint16_t>> make_table(const Program& program, const CharacterClasses& classes) {
  const size_t width = classes.count();
  Stepper stepper(program, classes);
  std::map<Threads, size_t> numbers = {{{}, 0}, {{0}, 1}};
  std::vector<Threads> states = {{}, {0}};
  std::vector<uint16_t> table(width);
  for (size_t state = 1; state < states.size(); ++state) {
    if (states.size() > kMaxStates || states.size() * width > kMaxEntries) return std::nullopt;
    for (size_t character_class = 0; character_class < width; ++character_class) {
      bool matched = false;
      const Threads next = stepper.step(states[state], character_class, matched);
      const auto [found, is_new] = numbers.try_emplace(next, states.size());
      if (is_new) states.push_back(next);
      if (found->second * width >= kMaxEntries) return std::nullopt;
      table.push_back(static_cast<uint16_t>(found->second * width * 2 + (matched ? 1 : 0)));
    }
  }
  return table;
}

}  // namespace

std::unique_ptr<const PatternAutomaton> PatternAutomaton::create(std::string_view source) {
  std::optional<RegularPattern> pattern = parse_regular(source);
  if (!pattern) return nullptr;
  const std::optional<Program> program = Compiler().run(pattern->root);
  if (!program) return nullptr;
  auto classes = CharacterClasses::create(pattern->sets);
  if (classes == nullptr) return nullptr;
  auto table = make_table(*program, *classes);
  if (!table) return nullptr;
  const auto start = static_cast<uint16_t>(classes->count());
  return std::unique_ptr<const PatternAutomaton>(
      new PatternAutomaton(std::move(classes), std::move(*table), start));
}

}  // namespace fathom::text
