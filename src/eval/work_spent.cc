#include "eval/work_spent.h"

#include <algorithm>
#include <numeric>

#include "plan/work.h"

namespace fathom::eval {

void WorkSpent::add(int64_t begin, int64_t rows, bool logits, std::span<const uint8_t> depths) {
  rows_ += rows;
  std::vector<int64_t>& at_position = logits ? with_logits_ : without_;
  at_position.resize(std::max(at_position.size(), static_cast<size_t>(begin + rows)));
  for (int64_t position = begin; position < begin + rows; ++position)
    ++at_position[static_cast<size_t>(position)];
  for (const uint8_t depth : depths) {
    at_depth_.resize(std::max(at_depth_.size(), static_cast<size_t>(depth)));
    for (size_t r = 0; r < depth; ++r) ++at_depth_[r];
  }
}

void WorkSpent::add(const WorkSpent& other) {
  const auto add_counts = [](const std::vector<int64_t>& from, std::vector<int64_t>& to) {
    to.resize(std::max(to.size(), from.size()));
    for (size_t i = 0; i < from.size(); ++i) to[i] += from[i];
  };
  rows_ += other.rows_;
  add_counts(other.with_logits_, with_logits_);
  add_counts(other.without_, without_);
  add_counts(other.at_depth_, at_depth_);
}

double WorkSpent::mean_depth() const {
  const int64_t passes = std::accumulate(at_depth_.begin(), at_depth_.end(), int64_t{0});
  return rows_ > 0 ? static_cast<double>(passes) / static_cast<double>(rows_) : 0;
}

std::vector<double> WorkSpent::depth_shares() const {
  std::vector<double> shares;
  for (int64_t rows : at_depth_) shares.push_back(static_cast<double>(rows) / static_cast<double>(rows_));
  return shares;
}

double WorkSpent::flops_per_row(const ModelPlan& plan) const {
  if (rows_ == 0) return 0;
  const ModelPlan met = at_depth_.empty() ? plan : with_depth_shares(plan, depth_shares());
  double total = 0;
  for (const bool logits : {true, false}) {
    const std::vector<int64_t>& at_position = logits ? with_logits_ : without_;
    for (size_t position = 0; position < at_position.size(); ++position) {
      if (at_position[position] == 0) continue;
      const auto at = static_cast<int64_t>(position);
      total += static_cast<double>(at_position[position]) *
               count_prefill_work(met, at, at + 1, logits ? 1 : 0).total();
    }
  }
  return total / static_cast<double>(rows_);
}

}  // namespace fathom::eval
