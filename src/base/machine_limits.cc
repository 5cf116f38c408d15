#include "base/machine_limits.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string_view>
#include <vector>

namespace fathom {

namespace {

// The first word of a file; empty where there is no such file.
std::string first_word(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// What is no whole number of 64 bits, such as "max", is nothing.
std::optional<int64_t> number_of(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<int64_t> number_in(const std::string& path) { return number_of(first_word(path)); }

// The number behind `key` in a file of lines "key number"; 0 where it is not named.
int64_t named_number(const std::string& path, std::string_view key) {
  std::ifstream file(path);
  std::string word, value;
  while (file >> word >> value) {
    if (word == key) return number_of(value).value_or(0);
  }
  return 0;
}

bool lists(std::string_view names, std::string_view name) {
  while (!names.empty()) {
    const size_t comma = std::min(names.find(','), names.size());
    if (names.substr(0, comma) == name) return true;
    names.remove_prefix(std::min(comma + 1, names.size()));
  }
  return false;
}

// Folders of the control groups that hold this process, from its own up to the outermost in sight.
// `controller` names a hierarchy of version 1; an empty one means version 2, which has a single one. Lines of
// /proc/self/cgroup are "number:controllers:path".
std::vector<std::string> group_folders(const std::string& root, std::string_view controller) {
  std::string path;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view names = std::string_view(line).substr(first + 1, second - first - 1);
    if (controller.empty() ? names.empty() : lists(names, controller)) path = line.substr(second + 1);
  }
  const std::string mount =
      root + "/sys/fs/cgroup" + (controller.empty() ? "" : "/") + std::string(controller);
  // In a container the path may be the host's, of which only the mount's own folder is in sight.
  std::vector<std::string> folders;
  while (path.size() > 1 && path.front() == '/') {
    folders.push_back(mount + path);
    path.resize(path.rfind('/'));
  }
  folders.push_back(mount);
  return folders;
}

// Bytes that a group may still take; nothing where it has no limit. Pages of files that it holds can be given
// back.
std::optional<int64_t> left_in(const std::string& folder, const std::string& limit, const std::string& usage,
                               const std::string& files) {
  const std::optional<int64_t> most = number_in(folder + "/" + limit), used = number_in(folder + "/" + usage);
  if (!most || !used) return std::nullopt;
  const std::string statistics = folder + "/memory.stat";
  const int64_t reclaimable =
      named_number(statistics, files + "inactive_file") + named_number(statistics, files + "active_file");
  return std::max<int64_t>(0, *most - std::max<int64_t>(0, *used - reclaimable));
}

}  // namespace

int available_cores(const std::string& root) {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  const auto limit = [&](std::optional<int64_t> quota, std::optional<int64_t> period) {
    if (quota && period && *quota > 0 && *period > 0)
      cores = static_cast<int>(std::min<int64_t>(cores, *quota / *period));
  };
  for (const std::string& folder : group_folders(root, "")) {
    std::ifstream file(folder + "/cpu.max");  // "QUOTA PERIOD", in microseconds
    std::string quota, period;
    if (file >> quota >> period) limit(number_of(quota), number_of(period));
  }
  for (const std::string& folder : group_folders(root, "cpu"))
    limit(number_in(folder + "/cpu.cfs_quota_us"), number_in(folder + "/cpu.cfs_period_us"));
  return std::max(1, cores);
}

std::optional<int64_t> available_memory(const std::string& root) {
  std::optional<int64_t> available;
  const auto limit = [&](std::optional<int64_t> bytes) {
    if (bytes) available = std::min(*bytes, available.value_or(*bytes));
  };
  std::ifstream machine(root + "/proc/meminfo");
  for (std::string key, kibibytes; machine >> key >> kibibytes; machine.ignore(1 << 10, '\n')) {
    if (key != "MemAvailable:") continue;
    if (const std::optional<int64_t> count = number_of(kibibytes)) limit(*count << 10);
  }
  for (const std::string& folder : group_folders(root, ""))
    limit(left_in(folder, "memory.max", "memory.current", ""));
  for (const std::string& folder : group_folders(root, "memory"))
    limit(left_in(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"));
  return available;
}

}  // namespace fathom
