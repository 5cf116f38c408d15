// Any bytes as a packed token file. The last two choose the vocabulary and the id that ends a document, the
// rest is the file. What is accepted can be read to the last id, and its documents end with that id.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "data/token_file.h"

namespace {

void use(const fathom::TokenFile& file) {
  std::vector<int32_t> ids(static_cast<size_t>(file.tokens()));
  file.read(0, ids);
  for (int32_t id : ids) {
    if (id < 0 || id >= file.vocab_size()) std::abort();
  }
  const auto starts = file.document_starts();
  if (starts.empty() != ids.empty()) std::abort();
  for (size_t i = 0; i < starts.size(); ++i) {
    if (starts[i] >= ids.size() || (i == 0 ? starts[i] != 0 : starts[i] <= starts[i - 1])) std::abort();
    if (i > 0 && ids[starts[i] - 1] != *file.end_of_document()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const int64_t vocab_size = int64_t{1} << (data[size - 2] % 34);
  const int32_t end_of_document = static_cast<int8_t>(data[size - 1]);
  const std::vector<uint8_t> bytes(data, data + size - 2);  // aligned, and exactly as long
  const auto file = fathom::TokenFile::parse_packed(bytes, vocab_size, end_of_document);
  if (file.ok()) use(*file);
  if (!file.ok() && file.error().message.empty()) std::abort();
  return 0;
}
