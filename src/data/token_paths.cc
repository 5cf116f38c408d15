#include "data/token_paths.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <string_view>

namespace fathom {

namespace {

constexpr std::string_view kAllOfPacking = "_*.bin";

}  // namespace

bool is_token_path(const std::string& path) { return path.ends_with(".tokens") || path.ends_with(".bin"); }

std::string packed_file_name(const std::string& name, int64_t number) {
  std::array<char, 32> ending{};
  std::snprintf(ending.data(), ending.size(), "_%010lld.bin", static_cast<long long>(number));
  return name + ending.data();
}

Result<std::vector<TokenFile>> open_token_files(const std::string& path, int64_t vocab_size,
                                                std::optional<int32_t> end_of_document, Parallel& threads) {
  std::vector<TokenFile> files;
  if (!path.ends_with(kAllOfPacking)) {
    FATHOM_ASSIGN(TokenFile file, TokenFile::open_any(path, vocab_size, end_of_document));
    files.push_back(std::move(file));
    return files;
  }
  const std::string name = path.substr(0, path.size() - kAllOfPacking.size());
  std::error_code ignored;
  int64_t count = 1;
  while (std::filesystem::exists(packed_file_name(name, count), ignored)) ++count;
  std::vector<Result<TokenFile>> opened;
  opened.reserve(static_cast<size_t>(count));
  for (int64_t number = 0; number < count; ++number) opened.emplace_back(TokenFile());
  threads.run(count, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t number = begin; number < end; ++number) {
      opened[static_cast<size_t>(number)] =
          TokenFile::open_packed(packed_file_name(name, number), vocab_size, end_of_document);
    }
  });
  for (Result<TokenFile>& file : opened) {
    if (!file.ok()) return std::move(file).error();
    files.push_back(std::move(file).value());
  }
  return files;
}

}  // namespace fathom
