// Ends generated text at the first stop string.
#pragma once

#include <string>
#include <vector>

namespace fathom::cli {

// Cuts the text at the first stop string and holds back what may still become one. What comes out in all
// depends on the text alone, not on its pieces.
class StopStrings {
 public:
  // None of them is empty.
  explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // The text that is certain now; stopped() once a stop string was met.
  std::string push(const std::string& text);
  // What was held back, at the end of the text.
  std::string finish();
  bool stopped() const { return stopped_; }
  const std::string& met() const { return met_; }  // the one that was, once stopped()

 private:
  std::vector<std::string> stops_;
  std::string held_, met_;
  bool stopped_ = false;
};

}  // namespace fathom::cli
