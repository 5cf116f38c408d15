// The tables of Decoder-Hybrid-Decoder's evaluation: Phonebook's prompts, seeds and settings, and the prompts
// and settings of the reasoning tasks, each against the task that says it. A JSON error becomes an exception
// of its library, which the caller turns into a sentence.
#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "cli/verify/report.h"

namespace fathom::cli::verify {

// phonebook.json. Its examples are drawn again; its rules are sentences, of which the numbers are compared.
Status compare_phonebook(const nlohmann::json& table, Report& report);
// reasoning_eval.json.
Status compare_reasoning(const nlohmann::json& table, Report& report);

}  // namespace fathom::cli::verify
