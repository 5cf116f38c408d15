// Token strings and their ids.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace fathom::text {

// Largest id a file may use: room for every known vocabulary, small enough to size tables by it.
inline constexpr int64_t kMaxTokenId = (int64_t{1} << 22) - 1;

class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;
  Vocabulary(const Vocabulary&) = delete;  // large
  Vocabulary& operator=(const Vocabulary&) = delete;

  // Error: an id outside [0, kMaxTokenId], an id or a token given twice. Ids may have gaps.
  static Result<Vocabulary> create(std::vector<std::pair<std::string, int64_t>> entries);

  std::optional<int32_t> find(std::string_view token) const;
  // Nothing for ids in a gap or past the end.
  std::optional<std::string_view> token(int32_t id) const;
  // One more than the highest id.
  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }

 private:
  std::vector<std::optional<std::string>> tokens_;  // by id
  // The ids in open addressing by the hash of their tokens; at least half of the slots are empty.
  struct Slot {
    uint32_t hash = 0;
    int32_t id = -1;
  };
  // The slot of the token, or the empty one where it would go.
  size_t index_of(std::string_view token, uint32_t hash) const;

  std::vector<Slot> slots_ = std::vector<Slot>(1);
};

}  // namespace fathom::text
