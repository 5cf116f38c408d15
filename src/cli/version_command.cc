// fathom version: what this binary is and which instruction set its kernels use here.
#include <iostream>
#include <memory>

#include "base/isa.h"
#include "base/machine_limits.h"
#include "base/parallel.h"
#include "cli/commands.h"

namespace fathom::cli {

Action declare_version(CLI::App& app) {
  auto verbose = std::make_shared<bool>(false);
  app.add_flag("--verbose,-v", *verbose, "also print the processor, cores and instruction sets");
  return [verbose]() -> Result<int> {
    std::cout << version_of("fathom") << "\n";
    if (!*verbose) return kExitOk;
    std::cout << "processor   " << processor_name() << "\n"
              << "cores       " << available_cores() << "\n"
              << "kernels     " << name_of(isa_level()) << " (FATHOM_ISA overrides)\n"
              << "available  ";
    for (IsaLevel level : supported_isa_levels()) std::cout << " " << name_of(level);
    std::cout << "\ncompiler    " << __VERSION__ << "\n";
    return kExitOk;
  };
}

}  // namespace fathom::cli
