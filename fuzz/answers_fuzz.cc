// Any bytes as a written answer. What is found in it lies in it, and comparing answers has no favourite side.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "eval/answers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace eval = fathom::eval;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto boxed = eval::last_boxed(text);
  if (boxed && text.find(*boxed) == std::string_view::npos) std::abort();
  if (!eval::same_math(text, text)) std::abort();
  // A line feed parts two answers.
  const size_t cut = text.find('\n');
  const std::string_view first = text.substr(0, cut);
  const std::string_view second = cut == std::string_view::npos ? "" : text.substr(cut + 1);
  if (eval::same_math(first, second) != eval::same_math(second, first)) std::abort();
  for (const auto rule : {eval::AnswerRule::kFirstLine, eval::AnswerRule::kMath, eval::AnswerRule::kLetter})
    eval::is_right(rule, text, second);
  return 0;
}
