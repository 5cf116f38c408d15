// Curves from the logs of training runs (docs/formats/run-directory.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/plot/chart.h"

namespace fathom::cli::plot {

enum class XKind : uint8_t {
  kStep,    // steps done
  kTokens,  // tokens trained on
  kFlops,   // tokens times three forward passes: the forward and, twice its cost, the backward
  kTime     // seconds in steps
};

// The curve of the number `y` of metrics.jsonl; "kept_2" is the second entry of the list "kept", and
// "tokens_per_second" is what its name says. Numbers of evaluations are marks; with `y` "loss" so is their
// "nll". The last line of a killed run may be torn, numbers that are none (null) are left out.
//
// Errors: no such run; a line, named by its number, that is not an object of the log; no step at all; no such
// number, with a list of those that there are. kFlops needs the run's config.json and config.toml.
Result<Curve> read_run_curve(const std::string& directory, XKind x, const std::string& y);

}  // namespace fathom::cli::plot
