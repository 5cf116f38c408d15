#include "data/text_documents.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "data/json_lines.h"

namespace fathom {

namespace {

namespace fs = std::filesystem;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

Result<std::vector<std::string>> list_directory(const std::string& path, const TextSettings& settings) {
  std::vector<std::string> found;
  std::error_code code;
  for (fs::recursive_directory_iterator entry(path, code), end; !code && entry != end;
       entry.increment(code)) {
    const std::string name = entry->path().string();
    const bool wanted = std::any_of(settings.extensions.begin(), settings.extensions.end(),
                                    [&](const std::string& extension) { return name.ends_with(extension); });
    if (wanted && entry->is_regular_file()) found.push_back(name);
  }
  if (code) return io_error(path + ": cannot list: " + code.message());
  if (found.empty()) return not_found(path + ": holds no file that ends in " + joined(settings.extensions));
  std::sort(found.begin(), found.end());
  return found;
}

std::string_view without_line_breaks_around(std::string_view text) {
  const size_t begin = text.find_first_not_of("\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of("\r\n") - begin + 1);
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

}  // namespace

Result<std::vector<std::string>> list_text_files(const std::vector<std::string>& paths,
                                                 const TextSettings& settings) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code code;
    if (fs::is_directory(path, code)) {
      FATHOM_ASSIGN(const std::vector<std::string> found, list_directory(path, settings));
      files.insert(files.end(), found.begin(), found.end());
    } else if (fs::is_regular_file(path, code)) {
      files.push_back(path);
    } else {
      return not_found(path + ": neither a file nor a directory");
    }
  }
  return files;
}

Status for_each_document(const std::vector<std::string>& files, const TextSettings& settings,
                         const std::function<Status(std::string_view)>& visit) {
  if (settings.separator && settings.separator->empty()) return invalid("the document separator is empty");
  for (const std::string& file : files) {
    if (is_json_lines(file)) {
      FATHOM_TRY(for_each_json_line(file, settings.json_field, visit));
      continue;
    }
    FATHOM_ASSIGN(const std::string text, read_file(file, settings.max_file_bytes));
    if (!settings.separator) {
      FATHOM_TRY(visit(text));
      continue;
    }
    size_t begin = 0;
    while (begin <= text.size()) {
      const size_t end = std::min(text.find(*settings.separator, begin), text.size());
      const std::string_view piece = std::string_view(text).substr(begin, end - begin);
      if (!is_blank(piece)) FATHOM_TRY(visit(without_line_breaks_around(piece)));
      begin = end + settings.separator->size();
    }
  }
  return {};
}

std::vector<int32_t> tokenize_bytes(std::string_view text) {
  std::vector<int32_t> ids;
  ids.reserve(text.size());
  for (char byte : text) ids.push_back(static_cast<uint8_t>(byte));
  return ids;
}

Result<ShardSummary> write_shard_from_text(const std::vector<std::string>& paths, const TextSettings& text,
                                           const Tokenize& tokenize, const TokenFileSettings& settings,
                                           const std::string& shard_path) {
  FATHOM_ASSIGN(const std::vector<std::string> files, list_text_files(paths, text));
  FATHOM_ASSIGN(TokenFileWriter writer, TokenFileWriter::create(shard_path, settings));
  FATHOM_TRY(for_each_document(files, text, [&](std::string_view document) -> Status {
    FATHOM_ASSIGN(const std::vector<int32_t> ids, tokenize(document));
    return writer.add_document(ids);
  }));
  FATHOM_TRY(writer.finish());
  return ShardSummary{static_cast<int64_t>(files.size()), writer.documents(), writer.tokens()};
}

}  // namespace fathom
