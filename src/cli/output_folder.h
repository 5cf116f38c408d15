// Where the files go that a command writes when its work is done.
#pragma once

#include <string>

#include "base/result.h"

namespace fathom::cli {

// Before long work: an error if `file` cannot be written, for its folder is not there or takes no files, or
// for it is a folder, or a device or pipe that takes nothing.
Status check_output_folder(const std::string& file);

// An error if there is anything at `path`, be it a link to nowhere.
Status check_not_there(const std::string& path);

}  // namespace fathom::cli
