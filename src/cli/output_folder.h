// Where the files go that a command writes when its work is done.
#pragma once

#include <string>

#include "base/result.h"

namespace fathom::cli {

// Before long work: an error if `file` cannot be written, for its folder is not there or takes no files.
Status check_output_folder(const std::string& file);

}  // namespace fathom::cli
