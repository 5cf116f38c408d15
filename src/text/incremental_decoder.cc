#include "text/incremental_decoder.h"

#include <algorithm>
#include <utility>

#include "text/token_bytes.h"
#include "text/utf8.h"

namespace fathom::text {

IncrementalDecoder::IncrementalDecoder(const Tokenizer& tokenizer, bool skip_special,
                                       std::vector<int32_t> kept)
    : tokenizer_(&tokenizer),
      bytes_(&tokenizer.token_bytes()),
      skip_special_(skip_special),
      kept_(std::move(kept)),
      strip_left_(bytes_->spec().strip_count) {}

std::string IncrementalDecoder::push(int32_t id) {
  const bool skipped =
      skip_special_ && tokenizer_->is_special(id) && std::ranges::find(kept_, id) == kept_.end();
  if (!tokenizer_->id_to_token(id) || skipped) return {};
  const size_t before = pending_.size();
  pending_ += bytes_->of(id);
  if (at_first_token_ && bytes_->spec().first_token_without_spaces) {
    pending_.erase(std::remove(pending_.begin() + static_cast<ptrdiff_t>(before), pending_.end(), ' '),
                   pending_.end());
  }
  at_first_token_ = false;
  strip_start();
  return take_complete(false);
}

std::string IncrementalDecoder::finish() {
  std::string out = take_complete(true);
  at_first_token_ = true;
  strip_left_ = bytes_->spec().strip_count;
  return out;
}

// Leaves out what is to be stripped at the start; stops for good at the first other character.
void IncrementalDecoder::strip_start() {
  const std::string& strip = bytes_->spec().strip;
  while (strip_left_ > 0 && pending_.starts_with(strip)) {
    pending_.erase(0, strip.size());
    --strip_left_;
  }
  if (!strip.starts_with(pending_)) strip_left_ = 0;
}

std::string IncrementalDecoder::take_complete(bool final) {
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Unit unit = next_unit(rest);
    if (unit.kind == Utf8Kind::kIncomplete && !final) break;
    out += unit.kind == Utf8Kind::kCharacter ? rest.substr(0, unit.size) : kReplacementCharacter;
    rest.remove_prefix(unit.size);
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

}  // namespace fathom::text
