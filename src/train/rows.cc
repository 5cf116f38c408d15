#include "train/rows.h"

#include <algorithm>

namespace fathom::train {

Rows all_rows(const Batch& batch) {
  Rows rows;
  rows.positions = std::make_shared<const std::vector<int32_t>>(batch.positions);
  rows.sequences = batch.sequences;
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    for (int64_t i = 0; i < batch.sequences[s].size(); ++i) rows.places.push_back(static_cast<int32_t>(i));
    rows.keys.push_back(batch.key_rows.empty() ? batch.sequences[s].size() : batch.key_rows[s]);
  }
  return rows;
}

Rows subset(const Rows& rows, const std::vector<int32_t>& kept) {
  Rows out;
  std::vector<int32_t> positions;
  size_t next = 0;
  for (size_t s = 0; s < rows.sequences.size(); ++s) {
    const auto begin = static_cast<int64_t>(positions.size());
    int64_t keys = 0;
    while (next < kept.size() && kept[next] < rows.sequences[s].end) {
      const int32_t row = kept[next++];
      positions.push_back((*rows.positions)[static_cast<size_t>(row)]);
      out.places.push_back(rows.places[static_cast<size_t>(row)]);
      keys += row - rows.sequences[s].begin < rows.keys[s] ? 1 : 0;
    }
    out.sequences.push_back({begin, static_cast<int64_t>(positions.size())});
    out.keys.push_back(keys);
  }
  out.positions = std::make_shared<const std::vector<int32_t>>(std::move(positions));
  return out;
}

std::shared_ptr<const AttentionRows> attention_rows(const Rows& queries, const Rows& keys, int64_t window,
                                                    bool own) {
  auto out = std::make_shared<AttentionRows>();
  out->query_rows = queries.sequences;
  for (size_t s = 0; s < keys.sequences.size(); ++s) {
    out->key_rows.push_back({keys.sequences[s].begin, keys.sequences[s].begin + keys.keys[s]});
  }
  for (size_t s = 0; s < queries.sequences.size(); ++s) {
    for (int64_t r = queries.sequences[s].begin; r < queries.sequences[s].end; ++r) {
      const int64_t seen =
          own ? r - queries.sequences[s].begin + 1 : queries.places[static_cast<size_t>(r)] + 1;
      const int64_t end = std::min(seen, keys.keys[s]);
      out->key_end.push_back(static_cast<int32_t>(end));
      out->key_begin.push_back(static_cast<int32_t>(window > 0 ? std::max<int64_t>(0, end - window) : 0));
      out->sequence.push_back(static_cast<int32_t>(s));
    }
  }
  return out;
}

std::vector<int32_t> rows_of(const Rows& some, const Rows& all) {
  std::vector<int32_t> rows(static_cast<size_t>(some.count()));
  for (size_t s = 0; s < some.sequences.size(); ++s) {
    for (int64_t r = some.sequences[s].begin; r < some.sequences[s].end; ++r) {
      const auto at = static_cast<size_t>(r);
      rows[at] = static_cast<int32_t>(all.sequences[s].begin) + some.places[at];
    }
  }
  return rows;
}

SharedRows rows_with_keys(const Rows& some, const Rows& all) {
  SharedRows shared;
  for (size_t s = 0; s < some.sequences.size(); ++s) {
    for (int64_t i = 0; i < some.keys[s]; ++i) {
      const int64_t row = some.sequences[s].begin + i;
      shared.in_some.push_back(static_cast<int32_t>(row));
      shared.in_all.push_back(
          static_cast<int32_t>(all.sequences[s].begin + some.places[static_cast<size_t>(row)]));
    }
  }
  return shared;
}

}  // namespace fathom::train
