// Every subcommand, one file each. main.cc lists those of `fathom`, train_main.cc those of `fathom-train`.
#pragma once

#include "cli/command.h"

namespace fathom::cli {

Action declare_batch(CLI::App& app);
Action declare_bench(CLI::App& app);
Action declare_chat(CLI::App& app);
Action declare_init(CLI::App& app);
Action declare_inspect(CLI::App& app);
Action declare_compare(CLI::App& app);
Action declare_convert(CLI::App& app);
Action declare_eval(CLI::App& app);
Action declare_fit(CLI::App& app);
Action declare_generate(CLI::App& app);
Action declare_train(CLI::App& app);
Action declare_pack(CLI::App& app);
Action declare_plan(CLI::App& app);
Action declare_plot(CLI::App& app);
Action declare_quantize(CLI::App& app);
Action declare_tokenize(CLI::App& app);
Action declare_verify(CLI::App& app);
Action declare_version(CLI::App& app);

}  // namespace fathom::cli
