// Any bytes as a line of a batch, and the body of the request in it. What is refused is refused with a
// sentence, and what is accepted is within its limits.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cli/batch/batch_file.h"
#include "cli/batch/completion_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fathom::cli::batch;
  const auto line = read_batch_line({reinterpret_cast<const char*>(data), size});
  if (!line.ok()) {
    if (line.error().message.empty()) std::abort();
    return 0;
  }
  const auto parsed = parse_completion(line->body, line->chat);
  if (const auto* error = std::get_if<ApiError>(&parsed)) {
    if (error->message.empty() || error->status < 400 || body_of(*error).dump().empty()) std::abort();
    return 0;
  }
  const auto& request = std::get<CompletionRequest>(parsed);
  const bool has_text = request.chat ? !request.messages.empty() : !request.prompts.empty();
  if (!has_text || request.n < 1 || request.prompts.size() * static_cast<size_t>(request.n) > 4096)
    std::abort();
  if (request.temperature && !(*request.temperature >= 0 && *request.temperature <= 2)) std::abort();
  if (request.max_tokens && *request.max_tokens < 0) std::abort();
  for (const auto& [id, bias] : request.rules.bias) {
    if (id < 0 || !(bias >= -100 && bias <= 100)) std::abort();
  }
  return 0;
}
