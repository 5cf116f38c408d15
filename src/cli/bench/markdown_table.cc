#include "cli/bench/markdown_table.h"

#include <algorithm>

namespace fathom::cli::bench {

namespace {

size_t length(const std::string& cell) {  // characters of UTF-8
  return static_cast<size_t>(std::ranges::count_if(cell, [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string MarkdownTable::text() const {
  std::vector<size_t> widths(lines_.front().size(), 4);
  for (const auto& line : lines_) {
    for (size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], length(line[c]));
  }
  std::string out;
  for (size_t l = 0; l < lines_.size(); ++l) {
    for (size_t c = 0; c < lines_[l].size(); ++c) {
      const std::string pad(widths[c] - length(lines_[l][c]), ' ');
      out += (c == 0 ? "| " : " | ") + (c == 0 ? lines_[l][c] + pad : pad + lines_[l][c]);
    }
    out += " |\n";
    if (l > 0) continue;
    for (size_t c = 0; c < widths.size(); ++c)
      out += (c == 0 ? "| " : " | ") + std::string(widths[c] - 1, '-') + (c == 0 ? "-" : ":");
    out += " |\n";
  }
  return out;
}

}  // namespace fathom::cli::bench
