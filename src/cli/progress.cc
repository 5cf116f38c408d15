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
  unit_ = 1;
  complete_ = false;
  start_ = shown_at_ = clock_.seconds();
}

void Progress::begin_bytes(const std::string& name, int64_t total) {
  constexpr int64_t kLeastMiB = 10;  // of what is shown in MiB: a step of the count is a tenth at the most
  const bool large = total >= kLeastMiB << 20;
  begin(name, total, large ? "MiB" : "KiB");
  unit_ = large ? 1 << 20 : 1 << 10;
}

void Progress::update(int64_t done, const std::string& verdict) {
  if (quiet_ || complete_) return;
  complete_ = done >= total_;
  done = std::min(done, total_);
  const double now = clock_.seconds();
  if (!complete_ && now - shown_at_ < (terminal_ ? kRedrawSeconds : kLineSeconds)) return;
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
  return name_ + " " + std::to_string(done / unit_) + "/" + std::to_string(total_ / unit_) + " " + parts_ +
         (verdict.empty() ? "" : "  " + verdict) + "  " + duration(done < total_ ? left : elapsed) +
         (done < total_ ? " left" : "");
}

}  // namespace fathom::cli
