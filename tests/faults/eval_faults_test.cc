// Corrupted rows of evaluation data, of every kind of field that a task reads.
#include "eval/items.h"
#include "faults/faults.h"
#include "faults/temporary_folder.h"

namespace fathom::faults {
namespace {

Reader reader_of(const char* task_name) {
  return [task_name](const std::string& content) {
    const eval::Task& task = **eval::find_task(task_name);
    return answer(eval::for_each_row(task, content,
                                     [&](const eval::RowForm& form, const nlohmann::json& row) -> Status {
                                       FATHOM_TRY(eval::make_item(task, form, row));
                                       return {};
                                     }));
  };
}

// A table of one task: the second line is corrupted.
struct Table {
  const char* task;
  std::string good;
  struct Change {
    std::string name, from, to, sentence;
  };
  std::vector<Change> changes;
};

const std::string kPiqa = R"({"goal": "box", "sol1": "a", "sol2": "b", "label": 1})";
const std::string kPrepared = R"({"query": "Q\n", "choices": ["a", "b"], "gold": 0})";
const std::string kArc =
    R"({"question": "Q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"})";
const std::string kWinogrande =
    R"({"sentence": "so _ did it.", "option1": "Sarah", "option2": "Maria", "answer": "2"})";
const std::string kMmlu =
    R"({"subject": "law", "question": "Q", "choices": ["a", "b", "c", "d"], "answer": "D"})";

const std::string kProblem = R"({"problem": "P", "answer": "7"})";
const std::string kSolved = R"({"question": "P", "answer": "so \\boxed{7}"})";
const std::string kGpqa =
    R"({"Question": "Q", "Correct Answer": "a", "Incorrect Answer 1": "b", "Incorrect Answer 2": "c",)"
    R"( "Incorrect Answer 3": "d"})";

const Table kTables[] = {
    {"piqa",
     kPiqa,
     {{"no object", kPiqa, "[1]", "line 2: is an array, expected an object"},
      {"cut", "1}", "1",
       "line 2, column 53: syntax error while parsing object - unexpected end of input; expected '}'"},
      {"two values", "1}", "1} 2",
       "line 2, column 55: syntax error while parsing value - unexpected number literal; expected end of "
       "input"},
      {"twice the same", "sol2", "sol1", "line 2, column 35: duplicate key \"sol1\""},
      {"no goal", "goal", "aim", "line 2: no field \"goal\", only aim, label, sol1, sol2"},
      {"goal a number", "\"box\"", "7", "line 2: \"goal\" is an integer, expected a string"},
      {"solution null", "\"b\"", "null", "line 2: \"sol2\" is null, expected a string"},
      {"no label", "label", "lable", "line 2: no field \"label\", only goal, lable, sol1, sol2"},
      {"label too large", ": 1", ": 2", "line 2: \"label\" is \"2\", which is none of 2 choices"},
      {"label negative", ": 1", ": -1", "line 2: \"label\" is \"-1\", which is none of 2 choices"},
      {"label a fraction", ": 1", ": 1.5", "line 2: \"label\" is \"1.5\", which is none of 2 choices"},
      {"label beyond 64 bits", ": 1", ": 99999999999999999999",
       "line 2: \"label\" is \"1e+20\", which is none of 2 choices"},
      {"label a letter", ": 1", ": \"B\"", "line 2: \"label\" is \"\"B\"\", which is none of 2 choices"},
      {"label a list", ": 1", ": [1]", "line 2: \"label\" is \"[1]\", which is none of 2 choices"},
      {"another form", kPiqa, kPrepared, "line 2: no field \"goal\", only choices, gold, query"}}},
    {"arc_easy",
     kPrepared,
     {{"choices a string", "[\"a\", \"b\"]", "\"a\"",
       "line 2: \"choices\" is a string, expected a list of strings"},
      {"no choices", "[\"a\", \"b\"]", "[]", "line 2: \"choices\" has 0 entries, expected 1 to 64"},
      {"one choice", "[\"a\", \"b\"]", "[\"a\"]", "line 2: only one choice, expected at least 2"},
      {"too many choices", "\"b\"]", "\"b\"" + repeated(", \"c\"", 63) + "]",
       "line 2: \"choices\" has 65 entries, expected 1 to 64"},
      {"a choice is a number", "\"b\"", "2", "line 2: \"choices\" holds an integer, expected strings alone"},
      {"query a list", "\"Q\\n\"", "[\"Q\"]", "line 2: \"query\" is an array, expected a string"},
      {"gold a word", ": 0", ": \"first\"",
       "line 2: \"gold\" is \"\"first\"\", which is none of 2 choices"}}},
    {"openbookqa",
     with(kArc, "question", "question_stem"),
     {{"a label that is not there", ": \"B\"", ": \"C\"",
       "line 2: \"answerKey\" is \"C\", which is not in \"choices.label\""},
      {"the answer a number", ": \"B\"", ": 1", "line 2: \"answerKey\" is an integer, expected a string"},
      {"more labels than texts", "\"A\", \"B\"]", "\"A\", \"C\", \"B\"]",
       "line 2: \"answerKey\" is \"\"B\"\", which is none of 2 choices"},
      {"no texts", "text", "texts", "line 2: no field \"choices.text\", only label, texts"},
      {"no labels", "label", "labels", "line 2: no field \"choices.label\", only labels, text"},
      {"choices a number", R"({"text": ["a", "b"], "label": ["A", "B"]})", "3",
       "line 2: no \"choices.text\", an integer stands in its place"}}},
    {"winogrande",
     kWinogrande,
     {{"no blank", "so _ did", "so did", "line 2: \"sentence\" has no \"_\""},
      {"answer 0", "\"2\"", "\"0\"", "line 2: \"answer\" is \"\"0\"\", which is none of 2 choices"},
      {"answer 3", "\"2\"", "3", "line 2: \"answer\" is \"3\", which is none of 2 choices"},
      {"no answer", "\"2\"", "\"\"", "line 2: \"answer\" is \"\"\"\", which is none of 2 choices"}}},
    {"mmlu",
     kMmlu,
     {{"answer beyond", "\"D\"", "\"E\"", "line 2: \"answer\" is \"\"E\"\", which is none of 4 choices"},
      {"three choices", ", \"d\"", "", "line 2: no \"choices.3\", the list has 3 entries"},
      {"no subject", "subject", "topic",
       "line 2: no field \"subject\", only answer, choices, question, topic"},
      {"an empty subject", "\"law\"", "\"\"", "line 2: \"subject\" has 0 bytes, expected 1 to 100"},
      {"a long subject", "law", std::string(101, 'x'),
       "line 2: \"subject\" has 101 bytes, expected 1 to 100"}}},
    {"aime24",
     kProblem,
     {{"no problem", "problem", "task", "line 2: no field \"problem\", only answer, task"},
      {"no answer", "answer", "reply", "line 2: no field \"answer\", only problem, reply"},
      {"answer a fraction", "\"7\"", "7.5",
       "line 2: \"answer\" is a number with fraction or exponent, expected a string or a whole number"},
      {"answer null", "\"7\"", "null", "line 2: \"answer\" is null, expected a string or a whole number"}}},
    {"math_500",
     kSolved,
     {{"nothing boxed", "boxed", "fixed", "line 2: \"answer\" has no \\boxed{...}"},
      {"a brace that is not closed", "{7}", "{7", "line 2: \"answer\" has no \\boxed{...}"},
      {"the solution a list", R"("so \\boxed{7}")", "[]",
       "line 2: \"answer\" is an array, expected a string"},
      {"the question a number", "\"P\"", "1", "line 2: \"question\" is an integer, expected a string"}}},
    {"gpqa_diamond",
     kGpqa,
     {{"a choice is missing", "Incorrect Answer 2", "Incorrect Answer 4",
       "line 2: no field \"Incorrect Answer 2\", only Correct Answer, Incorrect Answer 1, Incorrect Answer "
       "3, "
       "Incorrect Answer 4, Question"},
      {"the right one a number", "\"a\"", "1", "line 2: \"Correct Answer\" is an integer, expected a string"},
      {"no right one", "Correct Answer", "Answer",
       "line 2: no field \"Correct Answer\", only Answer, Incorrect Answer 1, Incorrect Answer 2, Incorrect "
       "Answer 3, Question"},
      {"the question null", "\"Q\"", "null", "line 2: \"Question\" is null, expected a string"}}},
};

TEST(EvalFaults, EachRowIsRefusedWithItsSentence) {
  size_t rows = 0;
  for (const Table& table : kTables) {
    SCOPED_TRACE(table.task);
    std::vector<Fault> faults;
    for (const Table::Change& change : table.changes)
      faults.push_back({change.name, table.good + "\n" + with(table.good, change.from, change.to) + "\n",
                        change.sentence});
    expect_refusals(table.good + "\n\n" + table.good + "\n", faults, reader_of(table.task), 4);
    rows += faults.size();
  }
  EXPECT_GE(rows, 30U);
}

TEST(EvalFaults, AFileWithoutAFormIsNone) {
  EXPECT_EQ(reader_of("piqa")(""), "holds no row");
  EXPECT_EQ(reader_of("piqa")("\n \n"), "holds no row");
  EXPECT_EQ(reader_of("piqa")("{}\n"), "line 1: no field \"goal\" or \"query\", as a row of piqa has");
}

TEST(EvalFaults, FoldersAndExamples) {
  const TemporaryFolder folder;
  const auto refusal = [&](const char* task, const eval::ItemSettings& settings) {
    return answer(eval::read_items(**eval::find_task(task), folder.path(), settings));
  };
  EXPECT_EQ(refusal("piqa", {}), folder.path() + "/piqa: holds no validation.jsonl or val.jsonl");
  const std::string test = folder.write("mmlu/test.jsonl", kMmlu + "\n");
  EXPECT_EQ(refusal("mmlu", {.shots = 1}), folder.path() + "/mmlu: holds no dev.jsonl");
  const std::string dev = folder.write("mmlu/dev.jsonl", with(kMmlu, "\"D\"", "\"F\""));
  EXPECT_EQ(refusal("mmlu", {.shots = 1}),
            dev + ": line 1: \"answer\" is \"\"F\"\", which is none of 4 choices");
  folder.write("mmlu/dev.jsonl", kMmlu);
  EXPECT_EQ(refusal("mmlu", {.shots = 1}), "accepted");
  EXPECT_EQ(refusal("mmlu", {.shots = 2}), test + ": line 1: 2 examples wanted for mmlu_law, 1 are there");
  folder.write("piqa/val.jsonl", kPiqa);
  EXPECT_EQ(refusal("piqa", {.shots = 1}), "--num-fewshot: piqa has no rows for examples");
  EXPECT_EQ(refusal("aime24", {}), folder.path() + "/aime24: holds no train.jsonl or test.jsonl");
}

}  // namespace
}  // namespace fathom::faults
