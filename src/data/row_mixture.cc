#include "data/row_mixture.h"

#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/json.h"

namespace fathom {

using nlohmann::json;

json to_json(const MixtureState& state) {
  if (state.sources.size() == 1) return to_json(state.sources.front());
  json sources = json::array();
  for (size_t i = 0; i < state.sources.size(); ++i) {
    json source = to_json(state.sources[i]);
    source["share"] = state.shares[i];
    sources.push_back(std::move(source));
  }
  return {{"sources", std::move(sources)}};
}

Result<MixtureState> mixture_state_from_json(const json& value) {
  MixtureState state;
  if (!value.is_object() || !value.contains("sources")) {
    FATHOM_ASSIGN(IterationState only, iteration_state_from_json(value));
    return MixtureState{{std::move(only)}, {1.0}};
  }
  const json& sources = value["sources"];
  if (!sources.is_array() || sources.empty())
    return invalid("iteration state: \"sources\" is " + kind_of(sources) + ", expected a list of sources");
  for (const json& source : sources) {
    FATHOM_ASSIGN(IterationState one, iteration_state_from_json(source));
    const auto share = source.find("share");
    if (share == source.end() || !share->is_number()) return invalid("iteration state: no number \"share\"");
    state.sources.push_back(std::move(one));
    state.shares.push_back(share->get<double>());
  }
  return state;
}

Result<RowMixture> RowMixture::create(std::vector<MixtureSource> sources) {
  if (sources.empty()) return invalid("a mixture needs at least one source");
  double sum = 0;
  for (const MixtureSource& source : sources) {
    sum += source.weight;
    if (!std::isfinite(sum) || source.weight <= 0) {
      return invalid("the weight of " + source.name + " is " + std::to_string(source.weight) +
                     ", expected a number above 0");
    }
  }
  return RowMixture(std::move(sources));
}

RowMixture::RowMixture(std::vector<MixtureSource> sources)
    : sources_(std::move(sources)), given_(sources_.size(), 0) {
  double sum = 0;
  for (const MixtureSource& source : sources_) sum += source.weight;
  for (const MixtureSource& source : sources_) shares_.push_back(source.weight / sum);
}

// Among the sources whose turn it may be, so far behind their share that one more row does not put them too
// far ahead, the one that would first fall too far behind.
size_t RowMixture::next_source() const {
  if (sources_.size() == 1) return 0;
  const double slack = 1.0 / static_cast<double>(2 * sources_.size() - 2);
  const auto n = static_cast<double>(std::accumulate(given_.begin(), given_.end(), int64_t{1}));
  size_t chosen = 0;
  double soonest = INFINITY;
  for (size_t i = 0; i < sources_.size(); ++i) {
    const double behind = shares_[i] * n - static_cast<double>(given_[i]);
    constexpr double kRounding = 1e-6;  // of shares * n, for every n that a run reaches
    if (behind < slack - kRounding) continue;
    const double deadline = (1 - slack - behind) / shares_[i];
    if (deadline < soonest) {
      soonest = deadline;
      chosen = i;
    }
  }
  FATHOM_CHECK(soonest < INFINITY, "no source is behind its share");
  return chosen;
}

MixtureRow RowMixture::next() {
  const size_t source = next_source();
  ++given_[source];
  return {static_cast<int32_t>(source), sources_[source].rows.next()};
}

std::vector<MixtureRow> RowMixture::next_batch(int64_t count) {
  FATHOM_CHECK(count >= 0, std::to_string(count) + " rows");
  std::vector<MixtureRow> rows;
  rows.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) rows.push_back(next());
  return rows;
}

MixtureState RowMixture::state() const {
  MixtureState state;
  for (const MixtureSource& source : sources_) state.sources.push_back(source.rows.state());
  state.shares = shares_;
  return state;
}

Status RowMixture::restore(const MixtureState& state) {
  if (state.sources.size() != sources_.size()) {
    return invalid("cannot resume: the saved data has " + std::to_string(state.sources.size()) +
                   " sources, this run's " + std::to_string(sources_.size()));
  }
  int64_t given = 0;
  for (size_t i = 0; i < sources_.size(); ++i) {
    const std::string& name = sources_[i].name;
    if (state.shares[i] != shares_[i]) {
      return invalid("cannot resume: the saved share of " + name + " is " + std::to_string(state.shares[i]) +
                     ", this run's is " + std::to_string(shares_[i]));
    }
    if (Status status = sources_[i].rows.restore(state.sources[i]); !status.ok())
      return sources_.size() == 1 ? status : at(name, status.error());
    given_[i] = sources_[i].rows.given();
    given += given_[i];
    if (given > kMostRowsGiven) {
      return invalid("cannot resume: the sources have given " + std::to_string(given) +
                     " rows, beyond the limit of " + std::to_string(kMostRowsGiven));
    }
  }
  return {};
}

}  // namespace fathom
