// Where the time of a training step goes, by op and pass. Off unless a profile is in force, and then two
// readings of the clock an op.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace fathom::train {

enum class OpPass : uint8_t { kForward, kBackward, kUpdate };

struct OpTime {
  int64_t calls = 0;
  double seconds = 0;  // without the ops called inside
};

// Collects from its construction to its end. One at a time in a process, for the thread that made it.
class OpProfile {
 public:
  OpProfile();
  ~OpProfile();
  OpProfile(const OpProfile&) = delete;
  OpProfile& operator=(const OpProfile&) = delete;

  const std::map<std::pair<std::string, OpPass>, OpTime>& times() const { return times_; }
  void clear() { times_.clear(); }

 private:
  friend class OpTimer;
  std::map<std::pair<std::string, OpPass>, OpTime> times_;
};

// Counts its own lifetime for `op`, which outlives it.
class OpTimer {
 public:
  OpTimer(const char* op, OpPass pass);
  ~OpTimer();
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;

 private:
  const char* op_;
  OpPass pass_;
  OpTimer* outer_ = nullptr;
  double start_ = 0;
  double inside_ = 0;  // seconds of timers within this one
};

}  // namespace fathom::train
