#include "cli/threads_flag.h"

#include "base/machine_limits.h"
#include "cli/flag_checks.h"

namespace fathom::cli {

CLI::Option* add_threads_flag(CLI::App& app, int& threads, const std::string& description) {
  return app.add_option("--threads,-t", threads, description)->check(thread_count())->capture_default_str();
}

int threads_or_all(int threads) { return threads > 0 ? threads : available_cores(); }

}  // namespace fathom::cli
