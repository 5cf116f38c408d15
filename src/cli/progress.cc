#include "cli/progress.h"

#include <algorithm>
#include <iostream>

#include "cli/figures.h"

namespace fathom::cli {

namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr double kLineSeconds = 10;

}  // namespace

void Progress::begin(const std::string& name, int64_t total, const std::string& parts) {
  name_ = name;
  parts_ = parts;
  total_ = total;
  done_ = 0;
  start_ = shown_at_ = clock_.seconds();
}

void Progress::update(int64_t done, const std::string& verdict) {
  done_ = done;
  if (quiet_) return;
  const double now = clock_.seconds();
  if (done < total_ && now - shown_at_ < (terminal_ ? kRedrawSeconds : kLineSeconds)) return;
  shown_at_ = now;
  const std::string line = line_of(done, verdict);
  if (!terminal_) {
    std::cerr << line << "\n";
    return;
  }
  constexpr int64_t kWidth = 24;
  const auto filled = static_cast<size_t>(kWidth * done / std::max<int64_t>(1, total_));
  std::cerr << "\r\033[K[" << std::string(filled, '#') << std::string(kWidth - filled, '.') << "] " << line
            << std::flush;
  drawn_ = true;
}

void Progress::end() {
  if (drawn_) std::cerr << "\n";
  drawn_ = false;
}

void Progress::say(const std::string& line) {
  if (quiet_) return;
  end();
  std::cerr << line << "\n";
}

std::string Progress::line_of(int64_t done, const std::string& verdict) const {
  const double elapsed = clock_.seconds() - start_;
  const double left =
      elapsed / static_cast<double>(std::max<int64_t>(1, done)) * static_cast<double>(total_ - done);
  return name_ + " " + std::to_string(done) + "/" + std::to_string(total_) + " " + parts_ +
         (verdict.empty() ? "" : "  " + verdict) + "  " + duration(done < total_ ? left : elapsed) +
         (done < total_ ? " left" : "");
}

}  // namespace fathom::cli
