// fathom train: becomes fathom-train, which does the work.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/train_flags.h"
#include "cli/trainer_process.h"

namespace fathom::cli {

Action declare_train(CLI::App& app) {
  auto flags = std::make_shared<TrainFlags>();
  declare_train_flags(app, *flags);
  return [flags, &app]() -> Result<int> {
    const Result<std::string> trainer = find_trainer();
    if (!trainer.ok()) {
      std::cerr << "fathom: " << trainer.error().message << "\n";
      return kExitNoTrainer;
    }
    std::vector<std::string> arguments = {"run"};
    for (const std::string& word : words_of(*flags)) arguments.push_back(word);
    for (const std::string& word : app.remaining()) arguments.push_back(word);
    return become_trainer(*trainer, arguments);
  };
}

}  // namespace fathom::cli
