#include "cli/chat/reasoning_splitter.h"

#include <gtest/gtest.h>

namespace fathom::cli::chat {
namespace {

// The parts of a text that comes in pieces of `size` bytes, neighbours of one kind joined.
std::vector<AnswerPart> parts_of(const std::string& text, size_t size) {
  ReasoningSplitter splitter;
  std::vector<AnswerPart> out;
  const auto take = [&](std::vector<AnswerPart> parts) {
    for (AnswerPart& part : parts) {
      if (!out.empty() && out.back().reasoning == part.reasoning) {
        out.back().text += part.text;
      } else {
        out.push_back(std::move(part));
      }
    }
  };
  for (size_t at = 0; at < text.size(); at += size) take(splitter.push(text.substr(at, size)));
  take(splitter.finish());
  return out;
}

struct Example {
  std::string text;
  std::vector<AnswerPart> parts;
};

const Example kExamples[] = {
    {"Four.", {{"Four.", false}}},
    {"  Four.\n", {{"  Four.\n", false}}},
    {"<think>\nTwo and\n\ntwo.\n</think>\n\nFour. \n", {{"Two and\n\ntwo.", true}, {"Four. \n", false}}},
    {" <think>a</think>b</think>c<think>", {{"a", true}, {"b</think>c<think>", false}}},
    {"<think>a </thin k>", {{"a </thin k>", true}}},
    {"<think>not yet \n", {{"not yet \n", true}}},
    {"<think></think>Four.", {{"Four.", false}}},
    {"<think> </think>", {}},
    {"<thin", {{"<thin", false}}},
    {"a <think>b", {{"a <think>b", false}}},
    {"", {}}};

TEST(ReasoningSplitter, PartsDoNotDependOnThePieces) {
  for (const Example& example : kExamples) {
    for (size_t size = 1; size <= example.text.size() + 1; ++size)
      EXPECT_EQ(parts_of(example.text, size), example.parts) << example.text << " by " << size;
  }
}

TEST(ReasoningSplitter, KnowsWhereItIs) {
  ReasoningSplitter splitter;
  splitter.push("<thi");
  EXPECT_FALSE(splitter.reasoning());
  splitter.push("nk>a");
  EXPECT_TRUE(splitter.reasoning());
  splitter.push("</think>");
  EXPECT_FALSE(splitter.reasoning());
}

}  // namespace
}  // namespace fathom::cli::chat
