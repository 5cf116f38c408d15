// Tells the reasoning of an answer from the answer itself: what stands between <think>, where the answer
// begins with it, and </think>. The tags may come in pieces.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fathom::cli::chat {

struct AnswerPart {
  std::string text;
  bool reasoning = false;
  bool operator==(const AnswerPart&) const = default;
};

class ReasoningSplitter {
 public:
  static constexpr const char* kOpen = "<think>";
  static constexpr const char* kClose = "</think>";

  // What is certain now, without the tags and the white space around them.
  std::vector<AnswerPart> push(const std::string& text);
  // The rest, at the end of the answer.
  std::vector<AnswerPart> finish();
  bool reasoning() const { return where_ == Where::kReasoning; }

 private:
  enum class Where : uint8_t { kStart, kReasoning, kAnswer };
  void advance(bool at_end, std::vector<AnswerPart>& out);

  Where where_ = Where::kStart;
  bool fresh_ = true;  // nothing of this part has been given out: white space is still left out
  std::string held_;
};

}  // namespace fathom::cli::chat
