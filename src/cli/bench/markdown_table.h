// A Markdown table whose cells are padded to columns, so that it reads as text too. The first column is
// left-aligned.
#pragma once

#include <string>
#include <vector>

namespace fathom::cli::bench {

class MarkdownTable {
 public:
  explicit MarkdownTable(std::vector<std::string> names) : lines_{std::move(names)} {}
  // As many cells as there are names.
  void add(std::vector<std::string> cells) { lines_.push_back(std::move(cells)); }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> lines_;
};

}  // namespace fathom::cli::bench
