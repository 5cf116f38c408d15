#include "cli/stop_strings.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace fathom::cli {

std::string StopStrings::push(const std::string& text) {
  held_ += text;
  size_t cut = std::string::npos;
  for (const std::string& stop : stops_) cut = std::min(cut, held_.find(stop));
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
