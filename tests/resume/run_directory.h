// What a run left behind, compared with what it should have left.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace fathom::testing {

// Nothing if the directories of two runs say the same but for times: the same files, logs that agree to the
// last digit, everything else to the byte. Otherwise what differs first.
std::optional<std::string> difference_of_runs(const std::filesystem::path& run,
                                              const std::filesystem::path& expected);

// Of checkpoints, which hold no times: nothing if every checkpoint in `run` is, byte by byte, the one of that
// name in `all`.
std::optional<std::string> difference_of_checkpoints(const std::filesystem::path& run,
                                                     const std::filesystem::path& all);

}  // namespace fathom::testing
