#include "cli/budget_chart.h"

#include <algorithm>
#include <vector>

#include "cli/plot/chart.h"

namespace fathom::cli {

std::string draw_budget_chart(const eval::DepthStudy& study, const std::string& title) {
  const auto point_of = [](const eval::RoutedResult& result) {
    return plot::Point{result.flops_share(), result.packed.nll()};
  };
  plot::Curve budgets{.name = "budgets", .points = {}, .marks = {}};
  for (const eval::BudgetPoint& point : study.points) budgets.points.push_back(point_of(point.result));
  std::ranges::stable_sort(budgets.points, {}, &plot::Point::x);
  budgets.marks = budgets.points;
  const plot::Curve threshold{.name = "threshold", .points = {point_of(study.threshold)}, .marks = {}};
  const plot::Curve top_k{.name = "topk", .points = {point_of(study.top_k)}, .marks = {}};
  return plot::draw_chart({budgets, threshold, top_k}, {.title = title,
                                                        .x_name = "share of the FLOPs of full depth",
                                                        .y_name = "nll",
                                                        .marks_name = "budget"});
}

}  // namespace fathom::cli
