// Any bytes as a trainer.json: the place in the data that it names. A run of the same sources is made, and
// where it accepts the place it stands exactly there and gives its next row.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "data/row_mixture.h"

namespace {

using fathom::IterationState;
using fathom::MixtureState;
using fathom::OrderKind;

// An order of the state's kind and numbers; nothing if there can be none.
std::optional<fathom::RowOrder> order_of(const IterationState& state) {
  constexpr int64_t kMostRows = int64_t{1} << 40;
  if (state.rows < 1 || state.rows > kMostRows) return std::nullopt;
  fathom::OrderSettings settings;
  settings.kind = state.kind;
  settings.seed = state.seed;
  settings.multiplier = state.multiplier;
  settings.offset = state.offset;
  if (state.kind == OrderKind::kExplicit) settings.listed = {0, state.rows - 1};
  if (state.kind == OrderKind::kFileGroups)
    settings.groups.file_rows = {state.rows / 2, (state.rows + 1) / 2};
  auto order = fathom::RowOrder::create(std::move(settings), state.rows);
  return order.ok() ? std::optional(std::move(order).value()) : std::nullopt;
}

std::optional<fathom::RowMixture> run_of(const MixtureState& state) {
  std::vector<fathom::MixtureSource> sources;
  for (size_t i = 0; i < state.sources.size(); ++i) {
    auto order = order_of(state.sources[i]);
    if (!order) return std::nullopt;
    sources.push_back({"source", state.shares[i], {*std::move(order), state.sources[i].data}});
  }
  auto run = fathom::RowMixture::create(std::move(sources));
  return run.ok() ? std::optional(std::move(run).value()) : std::nullopt;
}

// Groups of files are permuted again from the first on, and huge ones are: nothing to wait for here.
bool is_slow(const IterationState& state) {
  constexpr int64_t kMany = 100'000;
  return state.kind == OrderKind::kFileGroups && (state.rows > kMany || state.epoch * state.rows > kMany);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto json = fathom::parse_json({reinterpret_cast<const char*>(data), size});
  if (!json.ok() || !json->is_object() || !json->contains("data")) return 0;
  auto state = fathom::mixture_state_from_json((*json)["data"]);
  if (!state.ok()) {
    if (state.error().message.empty()) std::abort();
    return 0;
  }
  auto run = run_of(*state);
  if (!run) return 0;
  // What only the run knows: its shares, and its list of rows.
  const MixtureState own = run->state();
  state->shares = own.shares;
  for (size_t i = 0; i < own.sources.size(); ++i) state->sources[i].order_hash = own.sources[i].order_hash;
  const fathom::Status restored = run->restore(*state);
  if (!restored.ok()) {
    if (restored.error().message.empty()) std::abort();
    return 0;
  }
  if (!(run->state() == *state)) std::abort();
  for (size_t i = 0; i < run->size(); ++i) {
    if (run->rows_given(i) < 0 || run->rows_given(i) > fathom::kMostRowsGiven) std::abort();
    if (is_slow(state->sources[i])) return 0;
  }
  const fathom::MixtureRow row = run->next();
  if (row.row < 0 || row.row >= state->sources[static_cast<size_t>(row.source)].rows) std::abort();
  return 0;
}
