#include "cli/bench/serving.h"

#include <algorithm>
#include <optional>
#include <set>

namespace fathom::cli::bench {

namespace {

class Server {
 public:
  Server(Scheduler& scheduler, const Load& load, int64_t vocab, const ServingHooks& hooks)
      : scheduler_(scheduler),
        load_(load),
        vocab_(vocab),
        hooks_(hooks),
        items_(draw_load(load)),
        start_(hooks.clock.seconds()) {}
  ~Server() {
    for (const RequestId id : under_way_) scheduler_.forget(id);
  }

  Result<ServingResult> run() {
    while (!hooks_.stop.load()) {
      FATHOM_TRY(send_due());
      const bool stepped = scheduler_.step();
      FATHOM_TRY(failed_);
      if (stepped) {
        result_.most_running = std::max(result_.most_running, scheduler_.running() + ended_in_pass_);
        ended_in_pass_ = 0;
        result_.seconds = now() - start_;
        if (hooks_.on_pass) hooks_.on_pass(result_);
      } else if (next_ == items_.size()) {
        break;
      } else {
        hooks_.wait(due() - now());
      }
    }
    result_.stopped = result_.completed < load_.requests;
    return std::move(result_);
  }

 private:
  double now() const { return hooks_.clock.seconds(); }
  double due() const { return start_ + items_[next_].arrival; }

  Status send_due() {
    const auto has_place = [&] {
      return load_.concurrency == 0 || static_cast<int64_t>(under_way_.size()) < load_.concurrency;
    };
    while (next_ < items_.size() && has_place() && due() <= now()) FATHOM_TRY(send());
    return {};
  }

  Status send() {
    const LoadItem& item = items_[next_];
    const double from = load_.closed() ? now() : due();
    Request request;
    request.prompt = draw_prompt(load_, item, static_cast<int64_t>(next_), vocab_);
    request.max_tokens = item.output;
    request.sampling.temperature = 0;
    request.on_token = [this, &item, from, last = std::optional<double>()](const GeneratedToken&) mutable {
      const double at = now();
      if (!last) {
        result_.first_token.push_back(at - from);
        result_.input_tokens += item.input;
      } else {
        result_.between.push_back(at - *last);
      }
      last = at;
      ++result_.output_tokens;
      return true;
    };
    request.on_end = [this, from](RequestId id, const RequestResult& ended) {
      under_way_.erase(id);
      ++ended_in_pass_;
      if (ended.error) {
        failed_ = *ended.error;
        return;
      }
      result_.all.push_back(now() - from);
      ++result_.completed;
    };
    FATHOM_ASSIGN(const RequestId id, scheduler_.submit(std::move(request)));
    under_way_.insert(id);
    ++next_;
    return {};
  }

  Scheduler& scheduler_;
  const Load& load_;
  const int64_t vocab_;
  const ServingHooks& hooks_;
  const std::vector<LoadItem> items_;
  const double start_;
  size_t next_ = 0;  // to be sent
  std::set<RequestId> under_way_;
  int64_t ended_in_pass_ = 0;
  Status failed_;
  ServingResult result_;
};

}  // namespace

Result<ServingResult> serve(Scheduler& scheduler, const Load& load, int64_t vocab,
                            const ServingHooks& hooks) {
  return Server(scheduler, load, vocab, hooks).run();
}

}  // namespace fathom::cli::bench
