#include "cli/plot/law_points.h"

#include <algorithm>

#include "base/file.h"
#include "base/json.h"

namespace fathom::cli::plot {

namespace {

using nlohmann::json;

constexpr JsonLimits kLimits = {.max_bytes = uint64_t{1} << 20, .max_depth = 8, .max_values = 100'000};

Status known_keys(const json& object, const std::vector<std::string>& keys, const std::string& where) {
  for (const auto& [key, value] : object.items()) {
    if (std::ranges::find(keys, key) == keys.end()) return invalid(where + "unknown key " + key);
  }
  for (const std::string& key : keys) {
    if (!object.contains(key)) return invalid(where + "the key " + key + " is missing");
  }
  return {};
}

Result<Curve> read_series(const json& series, const std::string& where) {
  if (!series.is_object()) return invalid(where + "is " + kind_of(series) + ", expected an object");
  FATHOM_TRY(known_keys(series, {"name", "points"}, where));
  if (!series["name"].is_string())
    return invalid(where + "name is " + kind_of(series["name"]) + ", expected a string");
  if (!series["points"].is_array())
    return invalid(where + "points is " + kind_of(series["points"]) + ", expected a list of [x, loss]");
  Curve curve{.name = series["name"].get<std::string>(), .points = {}, .marks = {}};
  for (const json& point : series["points"]) {
    if (!point.is_array() || point.size() != 2 || !point[0].is_number() || !point[1].is_number()) {
      return invalid(where + "point " + std::to_string(curve.marks.size()) +
                     " is not [x, loss], two numbers");
    }
    curve.marks.push_back({point[0].get<double>(), point[1].get<double>()});
  }
  std::ranges::stable_sort(curve.marks, {}, &Point::x);
  return curve;
}

}  // namespace

Result<std::vector<Curve>> parse_law_points(std::string_view text) {
  FATHOM_ASSIGN(const json file, parse_json(text, kLimits));
  if (!file.is_object()) return invalid("is " + kind_of(file) + ", expected an object with series");
  FATHOM_TRY(known_keys(file, {"series"}, ""));
  if (!file["series"].is_array() || file["series"].empty())
    return invalid("series is not a list of at least one object with name and points");
  std::vector<Curve> curves;
  for (const json& series : file["series"]) {
    FATHOM_ASSIGN(Curve curve, read_series(series, "series " + std::to_string(curves.size()) + ": "));
    curves.push_back(std::move(curve));
  }
  return curves;
}

Result<std::vector<Curve>> read_law_points(const std::string& path) {
  FATHOM_ASSIGN(const std::string text, read_file(path, kLimits.max_bytes));
  Result<std::vector<Curve>> curves = parse_law_points(text);
  if (!curves.ok()) return at(path, curves.error());
  return curves;
}

}  // namespace fathom::cli::plot
