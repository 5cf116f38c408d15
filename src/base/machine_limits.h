// What this process may use of the machine: cores and memory, by the system's word and by that of the control
// groups (cgroups, versions 1 and 2) in which containers and services run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace fathom {

// Cores: the affinity mask, limited by the CPU quotas of the control groups. At least 1. `root` is where
// /proc and /sys lie; tests have their own.
int available_cores(const std::string& root = "");

// Bytes that the system could still give this process, about: what is free or holds files that can be read
// again, the least of the machine and of the control groups. Nothing where no one says.
std::optional<int64_t> available_memory(const std::string& root = "");

}  // namespace fathom
