// What was measured of one workload, and what it had to do.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "cli/bench/workload.h"
#include "engine/op_profile.h"
#include "plan/work.h"

namespace fathom::cli::bench {

// One run of the workload, and the peaks of the machine in the same seconds.
struct Repetition {
  double seconds = 0;
  double read_peak = 0;  // bytes per second
  double gemm_peak = 0;  // FLOPs per second
};

// One more run, with an observer: slower by a few clock readings.
struct Profile {
  Repetition run;
  std::array<OpProfile::Entry, kEngineOps> ops;
};

struct Measurement {
  Workload workload;
  std::vector<Repetition> repetitions{};
  FlopCount flops{};                   // of all the workload's tokens
  DecodeBytes bytes{};                 // of one token, if the workload decodes
  std::optional<double> mean_depth{};  // recursion passes a token made; nothing without routing
  std::optional<Profile> profile{};

  double products() const { return flops.linear + flops.head; }
};

// Of at least one sample. stddev is that of a sample (n - 1), 0 for a single one.
struct Spread {
  double mean = 0, median = 0, stddev = 0, least = 0, most = 0;
};
Spread spread_of(std::span<const double> samples);

double tokens_per_second(const Measurement& m, const Repetition& run);

// What the machine has to do at the least, and in what time at its peaks. Nothing to move: it is not counted.
enum class Limit : uint8_t { kRead, kGemm };
struct Work {
  std::optional<double> bytes{}, flops{};
};
// The limit of work, which is the one that takes longer at the peaks of `run`, and that time. Nothing for no
// work.
struct LimitTime {
  Limit limit;
  double seconds;
};
std::optional<LimitTime> limit_of(const Work& work, const Repetition& run);

// Of the whole workload: the bytes of decoding, products alone of FLOPs.
Work work_of(const Measurement& m);
// What one of its ops had to move or multiply, as far as it is counted. FLOPs that decoding has outside of
// products are left out, as in the whole.
Work work_of(const Measurement& m, EngineOp op);

// Share of the limit of a repetition, all its time counted.
double share_of_limit(const Measurement& m, const Repetition& run);

}  // namespace fathom::cli::bench
