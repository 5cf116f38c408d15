// Any bytes as a token shard. What is accepted can be read to the last id, and its documents cover it.
//
// No mutation keeps a SHA-256 true, so the hash is made true here unless the last bit of the input says
// otherwise.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "data/token_file.h"
#include "data/token_layout.h"

namespace {

namespace layout = fathom::token_layout;

void make_hash_true(std::span<uint8_t> file) {
  if (file.size() < layout::kHeaderBytes + layout::kTrailerBytes) return;
  const auto trailer = file.last(layout::kTrailerBytes);
  const auto tokens = layout::load<uint64_t>(trailer, layout::kTokensAt);
  const auto width = layout::load<uint32_t>(file, layout::kWidthAt);
  const uint64_t room = file.size() - layout::kHeaderBytes - layout::kTrailerBytes;
  if (width == 0 || tokens > room / width) return;
  const auto digest = fathom::sha256(file.subspan(layout::kHeaderBytes, tokens * width));
  std::copy(digest.begin(), digest.end(), trailer.begin() + layout::kHashAt);
}

void use(const fathom::TokenFile& file) {
  std::vector<int32_t> ids(static_cast<size_t>(file.tokens()));
  file.read(0, ids);
  for (int32_t id : ids) {
    if (id < 0 || id >= file.vocab_size()) std::abort();
  }
  const auto starts = file.document_starts();
  if (starts.empty() != ids.empty()) std::abort();
  for (size_t i = 0; i < starts.size(); ++i) {
    const uint64_t end = i + 1 < starts.size() ? starts[i + 1] : ids.size();
    if (starts[i] >= end || end > ids.size()) std::abort();
    if (file.end_of_document() && ids[end - 1] != *file.end_of_document()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);  // aligned, and exactly as long
  if (size > 0 && (data[size - 1] & 0x80) == 0) make_hash_true(bytes);
  const auto file = fathom::TokenFile::parse(bytes);
  if (file.ok()) use(*file);
  if (!file.ok() && file.error().message.empty()) std::abort();
  return 0;
}
