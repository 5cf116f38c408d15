// Whether the memory is there that a model needs to run, beside that of its weights: asked before anything is
// allocated, which the system often grants and then does not have.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/dtype.h"
#include "base/machine_limits.h"
#include "base/result.h"
#include "plan/model_plan.h"

namespace fathom::cli {

// Most tokens of a sequence and rows of a call that a flag may ask for: more than any machine holds, and few
// enough that the sizes made of them fit 64 bits.
constexpr int64_t kMostContext = int64_t{1} << 30;
constexpr int64_t kMostChunk = int64_t{1} << 20;
constexpr int64_t kMostDraft = 1024;  // guesses of tokens read at once

// Bytes, about: the state of a sequence of `context` tokens, the tables of their positions, and the scratch
// memory of calls of `rows` rows.
int64_t run_bytes(const ModelPlan& plan, int64_t context, int64_t rows, DType kv_type);

// An executor with the states of so many sequences.
struct RunShape {
  int64_t context = 0, rows = 0, states = 1;
};
// The same of several that are there at once.
int64_t run_bytes(const ModelPlan& plan, std::span<const RunShape> shapes, DType kv_type);

// Error: run_bytes() are more than `available`. `model` is its name in the sentence.
Status check_run_memory(const std::string& model, const ModelPlan& plan, int64_t context, int64_t rows,
                        DType kv_type, std::optional<int64_t> available = available_memory());
// The same of several. `flags` are those that make it less, as in "--context or --chunk".
Status check_run_memory(const std::string& model, const ModelPlan& plan, std::span<const RunShape> shapes,
                        DType kv_type, const std::string& flags,
                        std::optional<int64_t> available = available_memory());

// Bytes for the states of many sequences together, beside the scratch memory of calls of `rows` rows: those
// that --memory asks for, or of 0 four fifths of what is free, for others want memory too. Error: there is
// less than the flag asks for.
Result<int64_t> state_budget(const ModelPlan& plan, int64_t context, int64_t rows, DType kv_type,
                             uint64_t asked, std::optional<int64_t> available = available_memory());

}  // namespace fathom::cli
