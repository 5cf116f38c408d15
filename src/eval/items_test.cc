// The texts of each task, written out by hand, and what is read from files.
#include "eval/items.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "eval/text_rules.h"
#include "plan/testing.h"

namespace fathom::eval {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

struct Case {
  const char* task;
  const char* row;
  Strings contexts, continuations;
  int gold;
};

const char* const kChoices =
    R"({"Question": "Q", "Correct Answer": "right", "Incorrect Answer 1": "x", "Incorrect Answer 2": "y",
        "Incorrect Answer 3": "z"})";
const std::string kChoicePrompt =
    "Please reason step by step, and put your final choice of one letter from A/B/C/D within \\boxed{}. ";

const Case kCases[] = {
    {"lambada_openai",
     R"({"text": "He said he did not care about  signs"})",
     {"He said he did not care about "},
     {"signs"},
     -1},
    {"lambada_openai",
     R"({"context": "I don't care about", "continuation": "signs"})",
     {"I don't care about"},
     {"signs"},
     -1},
    {"hellaswag",
     R"({"activity_label": "Roof [x] removal", "ctx_a": "A man sits.  He", "ctx_b": "he Looks",
         "endings": [" is [step] ripping  tiles.", "sings", "a", "b"], "label": "3"})",
     {"Roof removal: A man sits. He He looks"},
     {"is ripping tiles.", "sings", "a", "b"},
     3},
    {"hellaswag",
     R"({"ctx": "Roof: A man sits. he", "endings": ["a", "b", "c", "d"], "label": 1})",
     {"Roof: A man sits. he"},
     {"a", "b", "c", "d"},
     1},
    {"piqa",
     R"({"goal": "ice box", "sol1": "add water", "sol2": "add soda", "label": 1})",
     {"Question: ice box\nAnswer:"},
     {"add water", "add soda"},
     1},
    {"piqa",
     R"({"query": "Question: ice box\n", "choices": ["add water", "add soda"], "gold": 0})",
     {"Question: ice box\nAnswer:"},
     {"add water", "add soda"},
     0},
    {"winogrande",
     R"({"sentence": "Sarah was better than Maria so _ got the easier cases. ", "option1": "Sarah",
         "option2": "Maria", "answer": "2"})",
     {"Sarah was better than Maria so Sarah", "Sarah was better than Maria so Maria"},
     {"got the easier cases."},
     1},
    {"winogrande",
     R"({"context_options": ["so Sarah", "so Maria"], "continuation": "got it.", "gold": 1})",
     {"so Sarah", "so Maria"},
     {"got it."},
     1},
    {"arc_easy",
     R"({"question": "Where?", "choices": {"text": ["here", "there", "nowhere"], "label": ["1", "2", "3"]},
         "answerKey": "3"})",
     {"Question: Where?\nAnswer:"},
     {"here", "there", "nowhere"},
     2},
    {"arc_easy",
     R"({"query": "Question: Where?", "choices": ["here", "there"], "gold": 1})",
     {"Question: Where?\nAnswer:"},
     {"here", "there"},
     1},
    {"arc_challenge",
     R"({"question": "Where?", "choices": {"text": ["here", "there"], "label": ["A", "B"]}, "answerKey": "A"})",
     {"Question: Where?\nAnswer:"},
     {"here", "there"},
     0},
    {"arc_challenge",
     R"({"query": "Question: Where?", "choices": ["here", "there"], "gold": 1})",
     {"Question: Where?\nAnswer:"},
     {"here", "there"},
     1},
    {"openbookqa",
     R"({"question_stem": "Predators eat", "choices": {"text": ["lions", "bunnies"], "label": ["A", "B"]},
         "answerKey": " B"})",
     {"Predators eat"},
     {"lions", "bunnies"},
     1},
    {"openbookqa",
     R"({"query": "Predators eat", "choices": ["lions", "bunnies"], "gold": 0})",
     {"Predators eat"},
     {"lions", "bunnies"},
     0},
    {"mmlu",
     R"({"subject": "abstract_algebra", "question": " Find it.\n", "choices": ["0", "1", "2", "3"],
         "answer": "B"})",
     {"Find it.\nA. 0\nB. 1\nC. 2\nD. 3\nAnswer:"},
     {"A", "B", "C", "D"},
     1},
    {"mmlu",
     R"({"subject": "law", "question": "Q", "choices": ["0", "1", "2", "3"], "answer": 3})",
     {"Q\nA. 0\nB. 1\nC. 2\nD. 3\nAnswer:"},
     {"A", "B", "C", "D"},
     3},
    {"mmlu_continuation",
     R"({"subject": "law", "question": "Q ", "choices": ["w", "x", "y", "z"], "answer": "D"})",
     {"Question: Q\nAnswer:"},
     {"w", "x", "y", "z"},
     3},
    {"aime24",
     R"({"problem": "What is $6 \\cdot 7$?", "answer": "042"})",
     {"Please reason step by step, and put your final answer within \\boxed{}. "
      R"(What is $6 \cdot 7$?)"},
     {"042"},
     -1},
    {"aime25",
     R"({"problem": "P", "question": "Q", "answer": 70})",
     {"Please reason step by step, and put your final answer within \\boxed{}. P"},
     {"70"},
     -1},
    {"math_500",
     R"({"problem": "P", "solution": "\\boxed{3} indeed.", "answer": "\\frac{1}{3}"})",
     {"Please reason step by step, and put your final answer within \\boxed{}. P"},
     {R"(\frac{1}{3})"},
     -1},
    {"math_500",
     R"({"question": "Q", "answer": "So $\\boxed{\\sqrt{2}}$. The answer is: 1"})",
     {"Please reason step by step, and put your final answer within \\boxed{}. Q"},
     {R"(\sqrt{2})"},
     -1},
    {"gpqa", kChoices, {kChoicePrompt + "Q\n\nA) right\nB) x\nC) y\nD) z"}, {"A"}, -1},
    {"gpqa_diamond", kChoices, {kChoicePrompt + "Q\n\nA) right\nB) x\nC) y\nD) z"}, {"A"}, -1},
};

// The form that a file with this row has.
const RowForm& form_of(const Task& task, const nlohmann::json& row) {
  for (const RowForm& form : task.forms) {
    if (row.contains(form.key)) return form;
  }
  ADD_FAILURE() << task.name << " has no form for " << row;
  return task.forms.front();
}

TEST(Items, EachTaskFormatsItsRows) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(std::string(c.task) + " " + c.row);
    const Task& task = **find_task(c.task);
    const nlohmann::json row = nlohmann::json::parse(c.row);
    const Result<Item> item = make_item(task, form_of(task, row), row);
    ASSERT_TRUE(item.ok()) << item.error().message;
    EXPECT_EQ(item->contexts, c.contexts);
    EXPECT_EQ(item->continuations, c.continuations);
    EXPECT_EQ(item->gold, c.gold);
  }
}

TEST(Items, EveryFormOfEveryTaskHasACase) {
  for (const Task& task : all_tasks()) {
    for (const RowForm& form : task.forms) {
      const bool found = std::ranges::any_of(kCases, [&](const Case& c) {
        return task.name == c.task && &form_of(task, nlohmann::json::parse(c.row)) == &form;
      });
      EXPECT_TRUE(found) << task.name << " " << form.name;
    }
  }
}

TEST(Items, AnUnknownTaskIsAnsweredWithAll) {
  const auto task = find_task("hellaswog");
  ASSERT_FALSE(task.ok());
  EXPECT_EQ(
      task.error().message,
      "unknown task \"hellaswog\", expected one of lambada_openai, hellaswag, piqa, winogrande, arc_easy, "
      "arc_challenge, openbookqa, mmlu, mmlu_continuation, phonebook, aime24, aime25, math_500, gpqa, "
      "gpqa_diamond");
}

class ItemFiles : public ::testing::Test {
 protected:
  void TearDown() override { fs::remove_all(folder_); }
  void put(const std::string& name, const std::string& content) const {
    fs::create_directories(fs::path(folder_ + "/" + name).parent_path());
    std::ofstream(folder_ + "/" + name, std::ios::binary) << content;
  }
  std::string mmlu_row(const std::string& subject, const std::string& question, const std::string& answer) {
    return R"({"subject": ")" + subject + R"(", "question": ")" + question +
           R"(", "choices": ["a", "b", "c", "d"], "answer": ")" + answer + "\"}\n";
  }
  std::string folder_ = (fs::temp_directory_path() / ("eval-items-" + std::to_string(::getpid()))).string();
};

TEST_F(ItemFiles, ExamplesAreTheFirstRowsOfTheSubject) {
  put("mmlu/dev.jsonl", mmlu_row("us_law", "D1", "A") + mmlu_row("physics", "D2", "B") +
                            mmlu_row("us_law", "D3", "C") + mmlu_row("us_law", "D4", "D"));
  put("mmlu/test.jsonl", mmlu_row("us_law", "T1", "B") + "\n" + mmlu_row("us_law", "T2", "C"));
  const auto read = read_items(**find_task("mmlu"), folder_, {.shots = 2});
  ASSERT_TRUE(read.ok()) << read.error().message;
  ASSERT_EQ(read->items.size(), 2U);
  EXPECT_EQ(read->items[1].context(0),
            "The following are multiple choice questions (with answers) about us law.\n\n"
            "D1\nA. a\nB. b\nC. c\nD. d\nAnswer: A\n\n"
            "D3\nA. a\nB. b\nC. c\nD. d\nAnswer: C\n\n"
            "T2\nA. a\nB. b\nC. c\nD. d\nAnswer:");
  const auto texts = read_items(**find_task("mmlu_continuation"), folder_, {.limit = 1, .shots = 1});
  ASSERT_TRUE(texts.ok()) << texts.error().message;
  EXPECT_EQ(texts->items[0].context(0),
            "The following are questions (with answers) about us law.\n\n"
            "Question: D1\nAnswer: a\n\n"
            "Question: T1\nAnswer:");
}

TEST_F(ItemFiles, ALimitHoldsForEachSubject) {
  put("mmlu/test.jsonl", mmlu_row("law", "1", "A") + mmlu_row("physics", "2", "A") +
                             mmlu_row("law", "3", "A") + mmlu_row("law", "4", "A"));
  const auto read = read_items(**find_task("mmlu"), folder_, {.limit = 2});
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->rows, 4);
  Strings found;
  for (const Item& item : read->items) found.push_back(item.group + " " + std::to_string(item.index));
  EXPECT_EQ(found, (Strings{"mmlu_law 0", "mmlu_law 1", "mmlu_physics 0"}));
}

// random.seed(1), then random.randint(0, 3) eight times, in Python.
TEST_F(ItemFiles, PlacesOfRightChoicesAreDrawnBySeed) {
  std::string rows;
  for (int i = 0; i < 8; ++i) rows += replaced(kChoices, "\n", " ") + "\n";
  put("gpqa/train.jsonl", rows);
  const auto letters = [&](std::optional<uint64_t> seed) {
    const auto read = read_items(**find_task("gpqa"), folder_, {.seed = seed});
    EXPECT_TRUE(read.ok());
    std::string right;
    for (const Item& item : read->items) {
      right += item.continuation(0);
      EXPECT_NE(item.context(0).find("\n" + item.continuation(0) + ") right"), std::string::npos);
    }
    return right;
  };
  EXPECT_EQ(letters({}), "BACADDDD");
  EXPECT_EQ(letters(1), letters({}));
  EXPECT_EQ(letters(2), "AAACBCCB");
  const Task& task = **find_task("gpqa");
  const auto third = make_item(task, task.forms.front(), nlohmann::json::parse(kChoices), 2);
  ASSERT_TRUE(third.ok());
  EXPECT_TRUE(third->context(0).ends_with("A) x\nB) y\nC) right\nD) z"));
  EXPECT_EQ(third->continuation(0), "C");
}

TEST_F(ItemFiles, TheFirstFileThatExistsIsRead) {
  put("piqa/val.jsonl", R"({"query": "Q\n", "choices": ["a", "b"], "gold": 0})");
  auto read = read_items(**find_task("piqa"), folder_, {});
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->form, "prepared");
  put("piqa/validation.jsonl", R"({"goal": "Q", "sol1": "a", "sol2": "b", "label": 0})");
  read = read_items(**find_task("piqa"), folder_, {});
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->form, "published");
  EXPECT_EQ(read->file, folder_ + "/piqa/validation.jsonl");
}

// The files beside the repository, where they are.
TEST(ItemsOfPublishedData, EveryTaskReadsItsFile) {
  const std::string data = testing_plan::shared_folder() + "/data/eval";
  if (!fs::is_directory(data)) GTEST_SKIP() << "data/eval of FATHOM_SHARED is not here";
  for (const Task& task : all_tasks()) {
    if (task.is_drawn() || task.name.starts_with("gpqa")) continue;  // made here; not to be passed on
    const int64_t shots = task.example_files.empty() ? 0 : 5;
    const auto read = read_items(task, data, {.shots = shots});
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_GT(read->rows, task.writing ? 10 : 200) << task.name;
    EXPECT_EQ(static_cast<int64_t>(read->items.size()), read->rows) << task.name;
  }
}

}  // namespace
}  // namespace fathom::eval
