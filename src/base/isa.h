// Which instruction set the kernels use. The level is chosen once: the best that processor and operating
// system support, or the one named by the environment variable FATHOM_ISA (portable, avx2, avx512,
// avx512_bf16). Results are exact to the bit within a level, not across levels.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom {

// Ascending: every level includes those before it.
enum class IsaLevel { kPortable, kAvx2, kAvx512, kAvx512Bf16 };

constexpr std::string_view name_of(IsaLevel level) {
  switch (level) {
    case IsaLevel::kPortable:
      return "portable";
    case IsaLevel::kAvx2:
      return "avx2";
    case IsaLevel::kAvx512:
      return "avx512";
    case IsaLevel::kAvx512Bf16:
      return "avx512_bf16";
  }
  return "?";
}

// Levels this machine can run, portable first.
std::vector<IsaLevel> supported_isa_levels();

// The level in force. A FATHOM_ISA that is unknown or not supported here falls back to the best level;
// check_isa_request() is what turns it into a message.
IsaLevel isa_level();

// Error if FATHOM_ISA names a level that is unknown or that this machine lacks. Called by the command line at
// start.
Status check_isa_request();

// Changes the level in force until the object dies. For tests and benches; not thread-safe.
class ScopedIsaLevel {
 public:
  explicit ScopedIsaLevel(IsaLevel level);
  ~ScopedIsaLevel();
  ScopedIsaLevel(const ScopedIsaLevel&) = delete;
  ScopedIsaLevel& operator=(const ScopedIsaLevel&) = delete;

 private:
  IsaLevel previous_;
};

// Brand string of the processor ("AMD EPYC ..."), for reports.
std::string processor_name();

}  // namespace fathom
