#include "cli/bar_line.h"

#include <algorithm>
#include <string_view>

namespace fathom::cli {

std::string bar_line(double share, const std::vector<std::string>& parts, size_t columns) {
  constexpr size_t kShortest = 8, kLongest = 24, kFrame = 3;  // "[] "
  std::string text;
  for (const std::string& part : parts) {
    const std::string_view gap = text.empty() ? "" : "  ";
    if (!text.empty() && text.size() + gap.size() + part.size() > columns) break;
    text.append(gap).append(part, 0, columns);
  }
  const size_t room = columns - text.size();
  if (room < kShortest + kFrame) return text;
  const size_t width = std::min(room - kFrame, kLongest);
  const auto filled = static_cast<size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(width));
  std::string line = "[";
  return line.append(filled, '#').append(width - filled, '.').append("] ").append(text);
}

}  // namespace fathom::cli
