#include "base/isa.h"

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fathom {

namespace {

#if defined(__x86_64__)
// Clang 14's __builtin_cpu_supports does not know this one.
bool supports_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

bool supports(IsaLevel level) {
#if defined(__x86_64__)
  switch (level) {
    case IsaLevel::kPortable:
      return true;
    case IsaLevel::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && supports_f16c();
    case IsaLevel::kAvx512:
      return supports(IsaLevel::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case IsaLevel::kAvx512Bf16:
      return supports(IsaLevel::kAvx512) && __builtin_cpu_supports("avx512bf16") &&
             __builtin_cpu_supports("avx512vnni");
  }
  return false;
#else
  return level == IsaLevel::kPortable;
#endif
}

constexpr IsaLevel kAllLevels[] = {IsaLevel::kPortable, IsaLevel::kAvx2, IsaLevel::kAvx512,
                                   IsaLevel::kAvx512Bf16};

std::optional<IsaLevel> level_named(std::string_view name) {
  for (IsaLevel level : kAllLevels) {
    if (name_of(level) == name) return level;
  }
  return std::nullopt;
}

IsaLevel initial_level() {
  if (const char* wanted = std::getenv("FATHOM_ISA"); wanted != nullptr) {
    if (auto level = level_named(wanted); level && supports(*level)) return *level;
  }
  return supported_isa_levels().back();
}

std::atomic<IsaLevel>& current_level() {
  static std::atomic<IsaLevel> level{initial_level()};
  return level;
}

}  // namespace

std::vector<IsaLevel> supported_isa_levels() {
  std::vector<IsaLevel> levels;
  for (IsaLevel level : kAllLevels) {
    if (supports(level)) levels.push_back(level);
  }
  return levels;
}

IsaLevel isa_level() { return current_level().load(std::memory_order_relaxed); }

Status check_isa_request() {
  const char* wanted = std::getenv("FATHOM_ISA");
  if (wanted == nullptr) return {};
  const auto level = level_named(wanted);
  if (!level) {
    return invalid(std::string("FATHOM_ISA: '") + wanted +
                   "' is not one of portable, avx2, avx512, avx512_bf16");
  }
  if (!supports(*level)) return invalid(std::string("FATHOM_ISA: this processor does not support ") + wanted);
  return {};
}

ScopedIsaLevel::ScopedIsaLevel(IsaLevel level) : previous_(isa_level()) { current_level().store(level); }
ScopedIsaLevel::~ScopedIsaLevel() { current_level().store(previous_); }

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line)) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

}  // namespace fathom
