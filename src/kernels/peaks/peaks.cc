#include "kernels/peaks/peaks.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <fstream>

#include "base/aligned_buffer.h"
#include "base/extents.h"
#include "kernels/peaks/peaks_levels.h"

namespace fathom::kernels {

namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int64_t kGrain = int64_t{1} << 20;  // bytes; a thread's share is many pages long
constexpr int kRounds = 4;                    // of a calibration
constexpr int kPasses = 3;                    // of a measurement

// A block with huge pages asked for or refused, every page of it touched.
struct Block {
  Block(int64_t bytes, bool huge_pages, Parallel& parallel) : storage(bytes + kHugePage) {
    const auto address = reinterpret_cast<uintptr_t>(storage.as());
    data = storage.as() + (kHugePage - static_cast<int64_t>(address % kHugePage)) % kHugePage;
    granted = ::madvise(data, static_cast<size_t>(bytes), huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) == 0;
    parallel.run(bytes / 4, kGrain, [&](int64_t begin, int64_t end, int) {
      auto* words = reinterpret_cast<uint32_t*>(data);
      for (int64_t i = begin; i < end; ++i) words[i] = static_cast<uint32_t>(i) * 2654435761U;
    });
  }
  AlignedBuffer storage;
  uint8_t* data;
  bool granted;
};

}  // namespace

std::string name_of(const ReadShape& shape) {
  return std::to_string(shape.streams) + (shape.streams == 1 ? " stream" : " streams") +
         (shape.prefetch ? ", prefetch" : "") + (shape.huge_pages ? ", huge pages" : "");
}

struct ReadProbe::Impl {
  Impl(int64_t size, Parallel& pool, Clock& time)
      : bytes(round_up(size, 4)),
        parallel(pool),
        clock(time),
        small(bytes, false, pool),
        huge(bytes, true, pool) {
    for (bool huge_pages : {false, true}) {
      if (huge_pages && !huge.granted) continue;
      for (int streams : {1, 4, 8}) {
        for (bool prefetch : {false, true}) shapes.push_back({streams, prefetch, huge_pages});
      }
    }
  }

  uint32_t pass(const ReadShape& shape) {
    const uint8_t* data = (shape.huge_pages ? huge : small).data;
    const auto read_fn = FATHOM_SIMD_SELECT(peaks_read);
    std::atomic<uint32_t> total{0};
    parallel.run(bytes, kGrain, [&](int64_t begin, int64_t end, int) {
      total.fetch_xor(read_fn(data + begin, end - begin, shape.streams, shape.prefetch),
                      std::memory_order_relaxed);
    });
    return total.load();
  }

  double rate_of(const ReadShape& shape) {
    const double start = clock.seconds();
    volatile uint32_t seen = pass(shape);
    (void)seen;
    return static_cast<double>(bytes) / (clock.seconds() - start);
  }

  const int64_t bytes;
  Parallel& parallel;
  Clock& clock;
  Block small, huge;
  std::vector<ReadShape> shapes;
  ReadShape best;
  bool calibrated = false;
};

ReadProbe::ReadProbe(int64_t bytes, Parallel& parallel, Clock& clock)
    : impl_(std::make_unique<Impl>(bytes, parallel, clock)) {}
ReadProbe::~ReadProbe() = default;

int64_t ReadProbe::bytes_beyond_caches() {
  // sysconf adds up the caches of a whole socket on some systems; this is the one that a core has.
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
  int64_t kibibytes = 0;
  file >> kibibytes;
  return std::max(8 * (kibibytes << 10), int64_t{256} << 20);
}

const std::vector<ReadShape>& ReadProbe::shapes() const { return impl_->shapes; }
const ReadShape& ReadProbe::best() const { return impl_->best; }
uint32_t ReadProbe::pass(const ReadShape& shape) { return impl_->pass(shape); }

double ReadProbe::calibrate() {
  double most = 0;
  // Shapes in turn, not one after the other: a slow second then meets them all.
  for (int round = 0; round < kRounds; ++round) {
    for (const ReadShape& shape : impl_->shapes) {
      const double rate = impl_->rate_of(shape);
      if (rate <= most) continue;
      most = rate;
      impl_->best = shape;
    }
  }
  impl_->calibrated = true;
  return most;
}

double ReadProbe::measure() {
  if (!impl_->calibrated) calibrate();
  double most = 0;
  for (int p = 0; p < kPasses; ++p) most = std::max(most, impl_->rate_of(impl_->best));
  return most;
}

MultiplyPeak measure_multiply_peak(DType type, Parallel& parallel, Clock& clock) {
  const auto multiply_fn = type == DType::kBF16 ? FATHOM_SIMD_SELECT(peaks_multiply_bf16)
                           : type == DType::kI8 || type == DType::kI4
                               ? FATHOM_SIMD_SELECT(peaks_multiply_int16)
                               : FATHOM_SIMD_SELECT(peaks_multiply_f32);
  constexpr int64_t kRoundsPerPiece = 10'000;  // tens of microseconds
  constexpr double kSeconds = 4e-3;
  MultiplyPeak peak;
  peak.loop = multiply_fn(0).loop;
  // Twice as much until it lasts long enough to be timed; then the best of three.
  int64_t pieces = int64_t{4} * parallel.num_threads();
  for (int measured = 0; measured < 3;) {
    std::atomic<int64_t> done{0};
    const double start = clock.seconds();
    parallel.run(pieces, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t piece = begin; piece < end; ++piece) {
        volatile float value = multiply_fn(kRoundsPerPiece).value;
        (void)value;
      }
      done.fetch_add(end - begin, std::memory_order_relaxed);
    });
    const double seconds = clock.seconds() - start;
    if (seconds < kSeconds) {
      pieces *= 2;
      continue;
    }
    const double flops = static_cast<double>(done.load()) * multiply_fn(kRoundsPerPiece).flops;
    peak.flops_per_second = std::max(peak.flops_per_second, flops / seconds);
    ++measured;
  }
  return peak;
}

}  // namespace fathom::kernels
