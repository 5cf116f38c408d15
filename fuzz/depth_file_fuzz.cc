// Any bytes as a file of recursion depths. What is accepted is some depths, each within its bounds.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cli/depth_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view content(reinterpret_cast<const char*>(data), size);
  const auto depths = fathom::cli::parse_depths(content, "depths.json", 1, 3);
  if (!depths.ok()) {
    if (depths.error().message.empty() || depths.error().message.size() > 8000) std::abort();
    return 0;
  }
  if (depths->empty()) std::abort();
  if (!std::ranges::all_of(*depths, [](uint8_t depth) { return depth >= 1 && depth <= 3; })) std::abort();
  return 0;
}
