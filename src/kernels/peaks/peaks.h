// What this machine can do at best, measured: bytes read from memory and multiply-adds, a second, on all
// threads of a pool. The yardsticks that benches divide by. A machine's clock and its neighbours change
// within seconds, so a peak belongs to the second it was measured in: measure it beside the thing it is
// compared with.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/dtype.h"
#include "base/parallel.h"

namespace fathom::kernels {

// One way to read memory: so many streams side by side in each thread, with or without software prefetch,
// from a block for which huge pages were asked or refused.
struct ReadShape {
  int streams = 1;  // 1, 4 or 8
  bool prefetch = false;
  bool huge_pages = false;
};
std::string name_of(const ReadShape& shape);  // "4 streams, prefetch, huge pages"

// Reads two blocks of its own, far larger than the caches. Not thread-safe; `parallel` and `clock` outlive
// it.
class ReadProbe {
 public:
  // `bytes` of each of the two blocks; throws std::bad_alloc where the memory is not there.
  ReadProbe(int64_t bytes, Parallel& parallel, Clock& clock);
  ~ReadProbe();
  ReadProbe(const ReadProbe&) = delete;
  ReadProbe& operator=(const ReadProbe&) = delete;

  // Eight times the last-level cache, at least 256 MiB: what lies in the cache from one pass to the next is
  // noise.
  static int64_t bytes_beyond_caches();

  // Every shape, with huge pages only where the system took the request.
  const std::vector<ReadShape>& shapes() const;

  // Reads one block once; the exclusive or of its 32-bit words, which says that every byte was read once.
  uint32_t pass(const ReadShape& shape);

  // Reads by every shape in turn, several rounds, and keeps the fastest. Bytes per second of its best pass.
  double calibrate();
  // Bytes per second, the best of three passes by the shape that calibrate() found (calibrates if it never
  // ran).
  double measure();
  const ReadShape& best() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The arithmetic ceiling of matrix products: multiply-adds on registers, in as many independent chains as
// hide their latency, on all threads at once. No product of matrices can be faster; a library's best is a few
// per cent below. kBF16: pairs of bfloat16 into float where the level in force has the instruction, else
// float, which is what kernels of that level do with widened bfloat16. kI8 and kI4: pairs of whole numbers of
// 16 bits.
struct MultiplyPeak {
  double flops_per_second = 0;
  std::string loop;  // the instruction, e.g. "vdpbf16ps, 512 bits"
};
MultiplyPeak measure_multiply_peak(DType type, Parallel& parallel, Clock& clock);

}  // namespace fathom::kernels
