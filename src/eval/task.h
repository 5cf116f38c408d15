// Evaluation tasks as data: which file, how a row becomes contexts and continuations, what is counted. Tasks
// whose continuations are scored have the texts of lm-evaluation-harness's tasks of the same name,
// version 1.0; tasks whose answers are written have those of Decoder-Hybrid-Decoder's evaluation
// (docs/formats/eval-data.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "kernels/sampling/sampling.h"

namespace fathom::eval {

// Per item: acc, acc_norm and acc_bytes are 1 or 0, perplexity is the log-likelihood of the continuation,
// exact_match and pass@1 are the part of the written answers that is right.
enum class Metric : uint8_t {
  kAcc,       // the most probable choice is right; without choices, every token is the most probable one
  kAccNorm,   // likewise, log-likelihoods divided by the choice's length in characters
  kAccBytes,  // likewise, in bytes of UTF-8
  kPerplexity,
  kExactMatch,
  kPassAtOne
};
std::string_view name_of(Metric metric);
bool higher_is_better(Metric metric);

// One text or several of a row: a list of strings at a path, or a template each (eval/row_template.h).
struct RowTexts {
  std::string_view list = {};
  std::vector<std::string_view> templates = {};
};

// How a row names its right choice.
enum class GoldKind : uint8_t {
  kNone,     // there are no choices
  kIndex,    // 0, 1, ..., as a number or in digits
  kFromOne,  // 1, 2, ..., likewise
  kLetter,   // "A", "B", ..., or an index
  kLabel     // a string that stands in the list `labels` at the choice's place
};
struct GoldRule {
  GoldKind kind = GoldKind::kNone;
  std::string_view field = {}, labels = {};
};

// A dataset is found in more than one shape; each is a form.
struct RowForm {
  // "published": the dataset's own fields; "prepared": contexts already put together.
  std::string_view name = {};
  std::string_view key = {};  // the field that tells the form
  RowTexts contexts = {};     // one, or one per choice
  // One per choice, or one; a space comes before each. Where answers are written: the right one, as it is.
  RowTexts continuations = {};
  GoldRule gold = {};
  bool without_brackets = false;  // all texts go through eval/text_rules.h's without_brackets()
  // Templates of choices that the context shows in an order that is drawn, the right one first. The right one
  // gets a place, the others keep their order; the row then has the fields "A", "B", ... with them and
  // "letter" with the right one's.
  std::vector<std::string_view> shown_choices = {};
};

// What makes a written answer right (eval/answers.h).
enum class AnswerRule : uint8_t {
  kFirstLine,  // its first line, stripped, is the reference
  kMath,       // the last \boxed{...} is mathematically the reference
  kLetter      // the last \boxed{...} holds the reference's letter
};

// How a model is made to write answers; the defaults of a task are those it was published with.
struct Writing {
  AnswerRule rule = AnswerRule::kFirstLine;
  bool chat = false;    // the prompt is a user's message in the model's chat template; else the text itself
  int64_t samples = 1;  // answers to each item
  int64_t max_tokens = 0;  // of an answer
  int64_t context = 0;     // tokens of prompt and answer at most; of a task, 0: as many as the model takes
  kernels::SamplingParams sampling = {};  // its seed is that of everything that is drawn
  DType dtype = DType::kBF16;             // of the matrices
};

struct Task {
  std::string_view name = {};
  std::string_view folder = {};              // under the folder of all data
  std::vector<std::string_view> files = {};  // the first that exists is read
  std::vector<RowForm> forms = {};
  std::vector<Metric> metrics = {};
  std::string_view description = {};  // a template, in front of every context
  std::string_view group = {};        // the field whose values are tasks of their own; empty: none
  // Rows for few-shot examples of the same group; empty: none.
  std::vector<std::string_view> example_files = {};
  // The answers are written by the model; else the continuations are scored.
  std::optional<Writing> writing = {};

  bool is_drawn() const { return files.empty(); }  // its items come from no file (eval/phonebook.h)
};

const std::vector<Task>& all_tasks();
// Error: an unknown name, with all that there are.
Result<const Task*> find_task(std::string_view name);

}  // namespace fathom::eval
