#include "train/op_profile.h"

#include "base/check.h"
#include "base/clock.h"

namespace fathom::train {

namespace {

// Backward runs on the thread that asks for it, so one thread sees all ops.
thread_local OpProfile* profile = nullptr;
thread_local OpTimer* innermost = nullptr;

double now() { return SteadyClock().seconds(); }

}  // namespace

OpProfile::OpProfile() {
  FATHOM_CHECK(profile == nullptr, "one profile at a time");
  profile = this;
}

OpProfile::~OpProfile() { profile = nullptr; }

OpTimer::OpTimer(const char* op, OpPass pass) : op_(op), pass_(pass) {
  if (profile == nullptr) return;
  outer_ = innermost;
  innermost = this;
  start_ = now();
}

OpTimer::~OpTimer() {
  if (innermost != this) return;
  const double seconds = now() - start_;
  innermost = outer_;
  if (outer_ != nullptr) outer_->inside_ += seconds;
  if (profile == nullptr) return;
  OpTime& time = profile->times_[{op_, pass_}];
  ++time.calls;
  time.seconds += seconds - inside_;
}

}  // namespace fathom::train
