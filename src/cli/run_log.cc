#include "cli/run_log.h"

namespace fathom::cli {

Result<size_t> RunLog::length_until(std::string_view content, int64_t steps_done, const NextRecord& next) {
  size_t length = 0;
  while (length < content.size()) {
    FATHOM_ASSIGN(const std::optional<Record> record, next(content.substr(length)));
    if (!record || record->steps_done > steps_done) break;
    length += record->bytes;
  }
  return length;
}

Result<uint64_t> RunLog::cut(const std::string& path, int64_t steps_done, const NextRecord& next) {
  std::string kept;
  {
    FATHOM_ASSIGN(const MappedFile file, MappedFile::open(path));
    const std::string_view content(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    const Result<size_t> length = length_until(content, steps_done, next);
    if (!length.ok()) return invalid(path + ", " + length.error().message);
    if (*length == content.size()) return uint64_t{*length};
    kept = content.substr(0, *length);
  }
  FATHOM_TRY(write_file_atomic(path, kept));
  return uint64_t{kept.size()};
}

Result<RunLog> RunLog::open(const std::string& path, int64_t steps_done, const NextRecord& next) {
  const Result<uint64_t> kept = cut(path, steps_done, next);
  if (!kept.ok() && kept.error().kind != ErrorKind::kNotFound) return kept.error();
  FATHOM_ASSIGN(OutputFile file, OutputFile::append(path));
  return RunLog(std::move(file), path, kept.ok() ? *kept : 0);
}

Status RunLog::append(std::string_view record) {
  FATHOM_TRY(file_.write(record));
  bytes_ += record.size();
  return {};
}

}  // namespace fathom::cli
