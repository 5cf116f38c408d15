// For tests alone: what this process takes of the machine.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <fstream>

namespace fathom::testing {

// Bytes of this process that lie in memory; 0 where the system does not say.
inline int64_t resident_bytes() {
  int64_t size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

}  // namespace fathom::testing
