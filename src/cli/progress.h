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
  // `verdict` is shown behind the count.
  void update(int64_t done, const std::string& verdict);
  void end();
  // A line of its own.
  void say(const std::string& line);

 private:
  std::string line_of(int64_t done, const std::string& verdict) const;

  bool quiet_, terminal_;
  Clock& clock_;
  std::string name_, parts_;
  int64_t total_ = 0, done_ = 0;
  double start_ = 0, shown_at_ = 0;
  bool drawn_ = false;
};

}  // namespace fathom::cli
