#include "cli/stop_strings.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace fathom::cli {

std::string StopStrings::push(const std::string& text) {
  held_ += text;
  // Of two that overlap the one counts that ends first, wherever pieces end.
  size_t cut = std::string::npos, end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    if (std::pair(at + stop.size(), at) >= std::pair(end, cut)) continue;
    end = at + stop.size();
    cut = at;
    met_ = stop;
  }
  if (cut != std::string::npos) {
    stopped_ = true;
    return std::exchange(held_, "").substr(0, cut);
  }
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (held_.ends_with(std::string_view(stop).substr(0, n))) keep = n;
    }
  }
  std::string ready = held_.substr(0, held_.size() - keep);
  held_.erase(0, ready.size());
  return ready;
}

std::string StopStrings::finish() { return std::exchange(held_, ""); }

}  // namespace fathom::cli
