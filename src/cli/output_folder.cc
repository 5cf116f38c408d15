#include "cli/output_folder.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/output_place.h"

namespace fathom::cli {

namespace fs = std::filesystem;

Status check_output_folder(const std::string& file) {
  FATHOM_ASSIGN(const OutputPlace place, OutputPlace::find(file));
  if (!place.replaces()) {
    if (::access(file.c_str(), W_OK) == 0) return {};
    return io_error(file + ": cannot be written: " + std::strerror(errno));
  }
  const std::string parent = fs::path(place.target()).parent_path().string();
  const std::string folder = parent.empty() ? "." : parent;
  if (::access((folder + "/.").c_str(), W_OK | X_OK) == 0) return {};
  return io_error(file + ": cannot be written to the folder " + folder + ": " + std::strerror(errno));
}

Status check_not_there(const std::string& path) {
  std::string name = path;  // with a slash behind it a link would be followed
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(name, ignored))) return invalid(path + " is already there");
  return {};
}

}  // namespace fathom::cli
