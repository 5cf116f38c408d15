#include "data/row_iterator.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/extents.h"
#include "base/json.h"
#include "io/sha256.h"

namespace fathom {

namespace {

using nlohmann::json;

std::string hash_of(const std::vector<int64_t>& rows) {
  Sha256 sha;
  for (int64_t row : rows) {
    std::array<uint8_t, 8> bytes{};
    for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(row >> (8 * i));
    sha.update(bytes);
  }
  return to_hex(sha.finish());
}

Result<int64_t> count_from(const json& state, const char* key) {
  const auto found = state.find(key);
  if (found == state.end()) return invalid("iteration state: no \"" + std::string(key) + "\"");
  // Values made in memory are signed, parsed ones unsigned: both count.
  const bool fits = found->is_number_unsigned() ? found->get<uint64_t>() <= INT64_MAX
                                                : found->is_number_integer() && found->get<int64_t>() >= 0;
  if (!fits) {
    return invalid("iteration state: \"" + std::string(key) + "\" is " + kind_of(*found) +
                   ", expected a non-negative integer");
  }
  return found->get<int64_t>();
}

Result<std::string> text_from(const json& state, const char* key) {
  const auto found = state.find(key);
  if (found == state.end() || !found->is_string()) {
    return invalid("iteration state: no text \"" + std::string(key) + "\"");
  }
  return found->get<std::string>();
}

Result<OrderKind> kind_from(const json& state) {
  FATHOM_ASSIGN(const std::string name, text_from(state, "order"));
  for (OrderKind kind : {OrderKind::kSequential, OrderKind::kShuffled, OrderKind::kAffine,
                         OrderKind::kExplicit, OrderKind::kFileGroups}) {
    if (name == name_of(kind)) return kind;
  }
  return invalid("iteration state: unknown order \"" + name + "\"");
}

}  // namespace

json to_json(const IterationState& state) {
  return {{"epoch", state.epoch},   {"position", state.position},
          {"rows", state.rows},     {"order", name_of(state.kind)},
          {"seed", state.seed},     {"multiplier", state.multiplier},
          {"offset", state.offset}, {"order_hash", state.order_hash},
          {"data", state.data}};
}

Result<IterationState> iteration_state_from_json(const json& value) {
  if (!value.is_object()) return invalid("iteration state: is " + kind_of(value) + ", expected an object");
  IterationState state;
  FATHOM_ASSIGN(state.epoch, count_from(value, "epoch"));
  FATHOM_ASSIGN(state.position, count_from(value, "position"));
  FATHOM_ASSIGN(state.rows, count_from(value, "rows"));
  FATHOM_ASSIGN(state.kind, kind_from(value));
  const auto seed = value.find("seed");
  if (seed == value.end() || !seed->is_number_unsigned())
    return invalid("iteration state: no integer \"seed\"");
  state.seed = seed->get<uint64_t>();
  FATHOM_ASSIGN(state.multiplier, count_from(value, "multiplier"));
  FATHOM_ASSIGN(state.offset, count_from(value, "offset"));
  FATHOM_ASSIGN(state.order_hash, text_from(value, "order_hash"));
  FATHOM_ASSIGN(state.data, text_from(value, "data"));
  return state;
}

int64_t RowIterator::next() {
  const int64_t row = order_.row(epoch_, position_);
  if (++position_ == order_.epoch_length()) {
    position_ = 0;
    ++epoch_;
  }
  return row;
}

std::vector<int64_t> RowIterator::next_batch(int64_t count) {
  FATHOM_CHECK(count >= 0, std::to_string(count) + " rows");
  std::vector<int64_t> rows;
  rows.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) rows.push_back(next());
  return rows;
}

IterationState RowIterator::state() const {
  const OrderSettings& settings = order_.settings();
  IterationState state;
  state.epoch = epoch_;
  state.position = position_;
  state.rows = order_.rows();
  state.kind = settings.kind;
  // Only what the order uses: other settings may change between runs without harm.
  const bool groups = settings.kind == OrderKind::kFileGroups;
  if (settings.kind == OrderKind::kShuffled || groups) state.seed = settings.seed;
  if (settings.kind == OrderKind::kAffine) {
    state.multiplier = settings.multiplier;
    state.offset = settings.offset;
  }
  if (settings.kind == OrderKind::kExplicit) state.order_hash = hash_of(settings.listed);
  if (groups) {
    std::vector<int64_t> described = settings.groups.file_rows;
    described.insert(described.end(), {settings.groups.files, settings.groups.shuffled ? 1 : 0,
                                       settings.groups.whole_groups ? 1 : 0});
    state.order_hash = hash_of(described);
  }
  state.data = data_;
  return state;
}

Status RowIterator::restore(const IterationState& saved) {
  const IterationState own = state();
  const auto differs = [](const char* what, const std::string& theirs, const std::string& ours) {
    return invalid("cannot resume: the saved " + std::string(what) + " is " + theirs + ", this run's is " +
                   ours);
  };
  const auto differs_in_number = [&](const char* what, auto theirs, auto ours) {
    return differs(what, std::to_string(theirs), std::to_string(ours));
  };
  if (saved.data != own.data) return differs("data", saved.data, own.data);
  if (saved.rows != own.rows) return differs_in_number("number of rows", saved.rows, own.rows);
  if (saved.kind != own.kind)
    return differs("order", std::string(name_of(saved.kind)), std::string(name_of(own.kind)));
  if (saved.seed != own.seed) return differs_in_number("seed", saved.seed, own.seed);
  if (saved.multiplier != own.multiplier)
    return differs_in_number("multiplier", saved.multiplier, own.multiplier);
  if (saved.offset != own.offset) return differs_in_number("offset", saved.offset, own.offset);
  if (saved.order_hash != own.order_hash) return differs("list of rows", saved.order_hash, own.order_hash);
  if (saved.epoch < 0 || saved.position < 0 || saved.position >= order_.epoch_length()) {
    return invalid("cannot resume: position " + std::to_string(saved.position) + " of an epoch of " +
                   std::to_string(order_.epoch_length()) + " rows");
  }
  // A group of files without rows is permuted too.
  const auto files = static_cast<int64_t>(order_.settings().groups.file_rows.size());
  const auto passed = checked_mul(static_cast<uint64_t>(saved.epoch),
                                  static_cast<uint64_t>(std::max(order_.epoch_length(), files)));
  const auto given = passed ? checked_add(*passed, static_cast<uint64_t>(saved.position)) : passed;
  if (!given || *given > uint64_t{kMostRowsGiven}) {
    return invalid("cannot resume: position " + std::to_string(saved.position) + " of epoch " +
                   std::to_string(saved.epoch) + " is beyond the limit of " + std::to_string(kMostRowsGiven) +
                   " rows");
  }
  epoch_ = saved.epoch;
  position_ = saved.position;
  return {};
}

}  // namespace fathom
