#include "text/vocabulary.h"

#include <algorithm>

namespace fathom::text {

Result<Vocabulary> Vocabulary::create(std::vector<std::pair<std::string, int64_t>> entries) {
  int64_t highest = -1;
  for (const auto& [token, id] : entries) {
    if (id < 0 || id > kMaxTokenId) {
      return invalid("token \"" + token + "\" has id " + std::to_string(id) + ", expected 0 to " +
                     std::to_string(kMaxTokenId));
    }
    highest = std::max(highest, id);
  }
  Vocabulary out;
  out.tokens_.resize(static_cast<size_t>(highest + 1));
  out.ids_.reserve(entries.size());
  for (auto& [token, id] : entries) {
    std::optional<std::string>& slot = out.tokens_[static_cast<size_t>(id)];
    if (slot) {
      return invalid("id " + std::to_string(id) + " is given to both \"" + *slot + "\" and \"" + token +
                     "\"");
    }
    slot = std::move(token);
    if (!out.ids_.emplace(*slot, static_cast<int32_t>(id)).second) {
      return invalid("token \"" + *slot + "\" is given twice");
    }
  }
  return out;
}

std::optional<int32_t> Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string_view> Vocabulary::token(int32_t id) const {
  if (id < 0 || id >= size()) return std::nullopt;
  const auto& slot = tokens_[static_cast<size_t>(id)];
  if (!slot) return std::nullopt;
  return *slot;
}

}  // namespace fathom::text
