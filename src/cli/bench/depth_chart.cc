#include "cli/bench/depth_chart.h"

#include <algorithm>

#include "base/check.h"
#include "cli/plot/chart.h"

namespace fathom::cli::bench {

namespace {

std::vector<Json> decoding(const std::vector<Json>& rows) {
  std::vector<Json> decode;
  std::ranges::copy_if(rows, std::back_inserter(decode),
                       [](const Json& row) { return row.at("n_gen").get<int64_t>() > 0; });
  return decode;
}

// The model, and what else tells its curve from the others.
class CurveNames {
 public:
  explicit CurveNames(const std::vector<Json>& rows) {
    for (const auto& [key, unit] :
         {Part{"dtype", ""}, Part{"n_threads", " threads"}, Part{"n_gen", " tokens"}}) {
      const auto differs = [&, key = key](const Json& row) { return row.at(key) != rows.front().at(key); };
      if (std::ranges::any_of(rows, differs)) parts_.push_back({key, unit});
    }
  }
  std::string of(const Json& row) const {
    auto name = row.at("model").get<std::string>();
    for (const auto& [key, unit] : parts_) {
      const Json& value = row.at(key);
      name += ", " + (value.is_string() ? value.get<std::string>() : value.dump()) + unit;
    }
    return name;
  }

 private:
  struct Part {
    const char* key;
    const char* unit;
  };
  std::vector<Part> parts_;
};

}  // namespace

std::string draw_depth_chart(const std::vector<Json>& rows) {
  const std::vector<Json> decode = decoding(rows);
  FATHOM_CHECK(!decode.empty(), "no row that decodes");
  const CurveNames names(decode);
  std::vector<plot::Curve> curves;
  for (const Json& row : decode) {
    const std::string name = names.of(row);
    auto curve = std::ranges::find(curves, name, &plot::Curve::name);
    if (curve == curves.end()) curve = curves.insert(curve, {.name = name, .points = {}, .marks = {}});
    curve->points.push_back({row.at("n_depth").get<double>(), 1e3 / row.at("median_ts").get<double>()});
  }
  for (plot::Curve& curve : curves) {
    std::ranges::stable_sort(curve.points, {}, &plot::Point::x);
    curve.marks = curve.points;
  }
  const Json& first = decode.front();
  return plot::draw_chart(curves,
                          {.title = "Time of a decoded token, " + first.at("cpu_info").get<std::string>(),
                           .x_name = "tokens of context before it",
                           .y_name = "ms, median",
                           .marks_name = "measured",
                           .x_unit = plot::Unit::kCount});
}

}  // namespace fathom::cli::bench
