#include "text/encoder.h"

#include "text/utf8.h"

namespace fathom::text {

class Encoder::Lease {
 public:
  explicit Lease(const Encoder& owner) : owner_(owner) {
    const std::lock_guard lock(owner_.mutex_);
    if (owner_.free_.empty()) {
      scratch_ = std::make_unique<Scratch>();
    } else {
      scratch_ = std::move(owner_.free_.back());
      owner_.free_.pop_back();
    }
  }
  ~Lease() {
    const std::lock_guard lock(owner_.mutex_);
    owner_.free_.push_back(std::move(scratch_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Scratch& operator*() { return *scratch_; }

 private:
  const Encoder& owner_;
  std::unique_ptr<Scratch> scratch_;
};

void Encoder::encode(std::string_view text, EncodeOptions options, std::vector<int32_t>& out) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    repaired = replace_invalid_utf8(text);
    text = repaired;
  }
  Lease scratch(*this);
  (*scratch).match.begin_text(text.size());
  if (options.add_special_tokens) out.insert(out.end(), parts_.prefix_ids.begin(), parts_.prefix_ids.end());
  bool starts_text = true;
  for (const Segment& segment : added_.split(text, false, options.parse_special)) {
    if (segment.id != Segment::kPlainText) {
      out.push_back(segment.id);
    } else {
      encode_segment(segment.text, starts_text, options, *scratch, out);
    }
    starts_text = false;
  }
  if (options.add_special_tokens) out.insert(out.end(), parts_.suffix_ids.begin(), parts_.suffix_ids.end());
}

// Text without tokens of the first kind: normalise it, then find those of the second kind.
void Encoder::encode_segment(std::string_view segment, bool starts_text, EncodeOptions options,
                             Scratch& scratch, std::vector<int32_t>& out) const {
  std::string normalized;
  if (!parts_.normalizer.is_identity()) {
    normalized = parts_.normalizer.apply(segment, scratch.match);
    segment = normalized;
  }
  for (const Segment& part : added_.split(segment, true, options.parse_special)) {
    if (part.id != Segment::kPlainText) {
      out.push_back(part.id);
    } else {
      encode_words(part.text, starts_text, scratch, out);
    }
    starts_text = false;
  }
}

void Encoder::encode_words(std::string_view text, bool starts_text, Scratch& scratch,
                           std::vector<int32_t>& out) const {
  IdSink sink(out);
  parts_.pre_tokenizer.split(text, starts_text, scratch.match,
                             [&](std::string_view word) { encode_word(word, scratch, sink); });
  sink.flush();
}

void Encoder::encode_word(std::string_view word, Scratch& scratch, IdSink& sink) const {
  const int known = scratch.cache.find(word, sink.reserve());
  if (known >= 0) return sink.advance(static_cast<size_t>(known));
  scratch.word_ids.clear();
  if (parts_.pre_tokenizer.maps_bytes()) {
    parts_.bpe.encode_bytes(word, scratch.bpe, scratch.word_ids);
  } else {
    parts_.bpe.encode(word, scratch.bpe, scratch.word_ids);
  }
  scratch.cache.insert(word, scratch.word_ids);
  sink.append(scratch.word_ids);
}

}  // namespace fathom::text
