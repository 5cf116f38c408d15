// Any bytes as a metrics.jsonl, for figures and for going on from a checkpoint. What going on keeps of it is
// whole lines, all of which figures are made of.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "cli/run_reader.h"

namespace {

using fathom::Status;
using fathom::cli::MetricsEntry;

constexpr auto use = [](const MetricsEntry& entry) -> Status {
  if (!entry.values.is_object() || !(entry.step >= 0)) std::abort();
  return {};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view content(reinterpret_cast<const char*>(data), size);
  const Status read = fathom::cli::parse_metrics(content, use);
  if (!read.ok() && read.error().message.empty()) std::abort();
  const auto kept = fathom::cli::RunLog::length_until(content, 100, fathom::cli::metrics_records());
  if (!kept.ok()) {
    if (kept.error().message.empty() || read.ok()) std::abort();
    return 0;
  }
  const std::string_view lines = content.substr(0, *kept);
  if (!lines.empty() && lines.back() != '\n') std::abort();
  if (!fathom::cli::parse_metrics(lines, use).ok()) std::abort();
  return 0;
}
