#include "data/text_documents.h"

#include <algorithm>
#include <deque>
#include <filesystem>

namespace fathom {

namespace {

namespace fs = std::filesystem;

// What is in memory of documents before their ids are made, for each thread.
constexpr size_t kBatchBytes = size_t{1} << 20;
// What a document takes beside its text: documents without words are not endless, either.
constexpr size_t kDocumentBytes = 64;

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

Result<DocumentReader> DocumentReader::create(std::vector<std::string> files, TextSettings settings) {
  if (settings.separator && settings.separator->empty()) return invalid("the document separator is empty");
  return DocumentReader(std::move(files), std::move(settings));
}

Result<bool> DocumentReader::next(std::string_view& document) {
  for (;;) {
    if (lines_) {
      FATHOM_ASSIGN(const bool more, lines_->next(line_));
      document = line_;
      if (more) return true;
    } else {
      FATHOM_ASSIGN(const bool more, next_piece(document));
      if (more) return true;
    }
    if (opened_ == files_.size()) return false;
    FATHOM_TRY(open_next());
  }
}

int64_t DocumentReader::bytes_read() const {
  return passed_ + static_cast<int64_t>(lines_ ? lines_->bytes_read() : std::min(at_, text_.bytes().size()));
}

Status DocumentReader::open_next() {
  passed_ = bytes_read();
  lines_.reset();
  text_ = MappedFile();
  at_ = 1;
  const std::string& file = files_[opened_++];
  if (is_json_lines(file)) {
    FATHOM_ASSIGN(lines_, JsonLineReader::open(file, settings_.json_field));
    return {};
  }
  FATHOM_ASSIGN(text_, MappedFile::open(file));
  at_ = 0;
  piece_ = 0;
  return {};
}

Result<bool> DocumentReader::next_piece(std::string_view& document) {
  const std::string_view text(reinterpret_cast<const char*>(text_.bytes().data()), text_.bytes().size());
  while (at_ <= text.size()) {
    const size_t begin = at_;
    const size_t end =
        settings_.separator ? std::min(text.find(*settings_.separator, begin), text.size()) : text.size();
    at_ = end + (settings_.separator ? settings_.separator->size() : 1);
    document = text.substr(begin, end - begin);
    if (settings_.separator) {
      if (is_blank(document)) continue;
      document = without_line_breaks_around(document);
    }
    ++piece_;
    if (document.size() > settings_.max_document_bytes) {
      return invalid(files_[opened_ - 1] + ", document " + std::to_string(piece_) + ": " +
                     std::to_string(document.size()) + " bytes, expected at most " +
                     std::to_string(settings_.max_document_bytes) +
                     "; a document separator cuts a file into smaller ones");
    }
    return true;
  }
  return false;
}

Status for_each_document(const std::vector<std::string>& files, const TextSettings& settings,
                         const std::function<Status(std::string_view)>& visit) {
  FATHOM_ASSIGN(DocumentReader documents, DocumentReader::create(files, settings));
  for (std::string_view document;;) {
    FATHOM_ASSIGN(const bool more, documents.next(document));
    if (!more) return {};
    FATHOM_TRY(visit(document));
  }
}

std::vector<int32_t> tokenize_bytes(std::string_view text) {
  std::vector<int32_t> ids;
  ids.reserve(text.size());
  for (char byte : text) ids.push_back(static_cast<uint8_t>(byte));
  return ids;
}

Status encode_documents(DocumentReader& documents, const Tokenize& tokenize, Parallel& threads,
                        const TakeIds& take) {
  const size_t most = kBatchBytes * static_cast<size_t>(threads.num_threads());
  std::deque<std::string> kept;  // all texts of a batch but the last, which lives in the reader
  std::vector<std::string_view> texts;
  std::vector<int64_t> ends;
  std::vector<Result<std::vector<int32_t>>> ids;
  for (Result<bool> more = true; more.ok() && *more;) {
    kept.clear();
    texts.clear();
    ends.clear();
    for (size_t size = 0; size < most;) {
      if (!texts.empty()) texts.back() = kept.emplace_back(texts.back());
      std::string_view text;
      more = documents.next(text);
      if (!more.ok() || !*more) break;
      texts.push_back(text);
      ends.push_back(documents.bytes_read());
      size += text.size() + kDocumentBytes;
    }
    ids.assign(texts.size(), std::vector<int32_t>());
    threads.run(static_cast<int64_t>(texts.size()), 1, [&](int64_t begin, int64_t end, int) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
        ids[i] = tokenize(texts[i]);
    });
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!ids[i].ok()) return std::move(ids[i]).error();
      FATHOM_ASSIGN(const bool go_on, take(*ids[i], ends[i]));
      if (!go_on) return {};
    }
    // What cannot be read comes after the documents before it.
    if (!more.ok()) return std::move(more).error();
  }
  return {};
}

Result<ShardSummary> write_shard_from_text(const std::vector<std::string>& paths, const TextSettings& text,
                                           const Tokenize& tokenize, const TokenFileSettings& settings,
                                           const std::string& shard_path, Parallel& threads,
                                           int64_t most_tokens) {
  FATHOM_ASSIGN(const std::vector<std::string> files, list_text_files(paths, text));
  ShardSummary summary;
  summary.files = static_cast<int64_t>(files.size());
  for (const std::string& file : files) {
    std::error_code code;
    summary.bytes += static_cast<int64_t>(fs::file_size(file, code));
    if (code) return io_error(file + ": " + code.message());
  }
  FATHOM_ASSIGN(DocumentReader documents, DocumentReader::create(files, text));
  FATHOM_ASSIGN(TokenFileWriter writer, TokenFileWriter::create(shard_path, settings));
  const TakeIds add = [&](std::span<const int32_t> ids, int64_t bytes_read) -> Result<bool> {
    FATHOM_TRY(writer.add_document(ids));
    summary.bytes_read = bytes_read;
    return writer.tokens() < most_tokens;
  };
  FATHOM_TRY(encode_documents(documents, tokenize, threads, add));
  FATHOM_TRY(writer.finish());
  summary.documents = writer.documents();
  summary.tokens = writer.tokens();
  return summary;
}

}  // namespace fathom
