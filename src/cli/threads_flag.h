// --threads: on how many cores a command computes.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace fathom::cli {

CLI::Option* add_threads_flag(CLI::App& app, int& threads, const std::string& description = "0: all cores");

// What the flag asks for; 0 is every core that this process may use (base/machine_limits.h).
int threads_or_all(int threads);

}  // namespace fathom::cli
