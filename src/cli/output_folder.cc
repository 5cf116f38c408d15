#include "cli/output_folder.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace fathom::cli {

namespace fs = std::filesystem;

Status check_output_folder(const std::string& file) {
  std::error_code ignored;
  if (fs::is_directory(file, ignored)) return invalid(file + " is a directory, expected a file to write");
  const std::string parent = fs::path(file).parent_path().string();
  const std::string folder = parent.empty() ? "." : parent;
  if (::access((folder + "/.").c_str(), W_OK | X_OK) == 0) return {};
  return io_error(file + ": cannot be written to the folder " + folder + ": " + std::strerror(errno));
}

}  // namespace fathom::cli
