#include "eval/work_spent.h"

#include <algorithm>
#include <numeric>

#include "plan/work.h"

namespace fathom::eval {

void WorkSpent::add(int64_t begin, int64_t rows, int64_t logit_rows, std::span<const uint8_t> depths) {
  rows_ += rows;
  logit_rows_ += logit_rows;
  at_position_.resize(std::max(at_position_.size(), static_cast<size_t>(begin + rows)));
  for (int64_t position = begin; position < begin + rows; ++position)
    ++at_position_[static_cast<size_t>(position)];
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
  logit_rows_ += other.logit_rows_;
  add_counts(other.at_position_, at_position_);
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
  double total = static_cast<double>(logit_rows_) * count_work(met, 0, 1, 1).head;
  for (size_t position = 0; position < at_position_.size(); ++position) {
    if (at_position_[position] == 0) continue;
    const auto at = static_cast<int64_t>(position);
    total += static_cast<double>(at_position_[position]) * count_work(met, at, at + 1, 0).total();
  }
  return total / static_cast<double>(rows_);
}

}  // namespace fathom::eval
