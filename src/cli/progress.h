// How far long work is: a bar on a terminal, a line now and then elsewhere; on stderr.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace fathom::cli {

class Progress {
 public:
  Progress(bool quiet, bool terminal, Clock& clock) : quiet_(quiet), terminal_(terminal), clock_(clock) {}
  // A piece of work of `total` parts; "items", "rows".
  void begin(const std::string& name, int64_t total, const std::string& parts);
  // One of `total` bytes, which are shown in KiB or MiB.
  void begin_bytes(const std::string& name, int64_t total);
  // `verdict` is shown behind the count. What comes after the whole is done is not shown.
  void update(int64_t done, const std::string& verdict);
  void end();
  // A line of its own.
  void say(const std::string& line);

 private:
  std::string line_of(int64_t done, const std::string& verdict) const;

  bool quiet_, terminal_;
  Clock& clock_;
  std::string name_, parts_;
  int64_t total_ = 0, unit_ = 1;  // unit_: how much of `total` a number that is shown stands for
  double start_ = 0, shown_at_ = 0;
  bool drawn_ = false, complete_ = false;
};

}  // namespace fathom::cli
