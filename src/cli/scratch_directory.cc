#include "cli/scratch_directory.h"

#include <unistd.h>

#include <filesystem>

namespace fathom::cli {

namespace fs = std::filesystem;

Result<ScratchDirectory> ScratchDirectory::create(const std::string& name) {
  std::error_code code;
  std::string path = (fs::temp_directory_path(code) / (name + "-XXXXXX")).string();
  if (code || ::mkdtemp(path.data()) == nullptr)
    return io_error("cannot make a temporary folder " + path + "; TMPDIR says where");
  return ScratchDirectory(std::move(path));
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

}  // namespace fathom::cli
