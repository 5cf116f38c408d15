#include "cli/batch/batch_runner.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "base/check.h"
#include "text/text_refused.h"

namespace fathom::cli::batch {

struct BatchRunner::Job {
  std::string custom_id;
  CompletionRequest completion;
  int64_t prompt_tokens = 0;
  std::vector<CompletionText> texts;
  size_t left = 0;               // texts that have not ended
  std::vector<Request> waiting;  // by their number; those in line are empty
  std::optional<ApiError> error;
};

BatchRunner::BatchRunner(const LoadedModel& model, Scheduler& scheduler, BatchOutput& output,
                         BatchOptions options)
    : model_(model), scheduler_(scheduler), output_(output), options_(std::move(options)) {}

BatchRunner::~BatchRunner() = default;

std::variant<BatchRunner::Prompts, ApiError> BatchRunner::prompts_of(const CompletionRequest& request) {
  Prompts prompts;
  try {
    if (request.chat) {
      if (!chat_) chat_ = chat_template_of(model_, options_.chat_template);
      if (!chat_->ok()) return ApiError{.message = chat_->error().message, .param = "messages"};
      const text::ChatTemplate& chat = **chat_;
      const bool has_system = request.messages.front().role == text::Role::kSystem;
      std::vector<text::PromptPiece> pieces = chat.beginning(has_system ? request.messages.front().text : "");
      const auto add = [&](std::vector<text::PromptPiece> more) {
        pieces.insert(pieces.end(), std::make_move_iterator(more.begin()),
                      std::make_move_iterator(more.end()));
      };
      for (size_t i = has_system ? 1 : 0; i < request.messages.size(); ++i)
        add(chat.message(request.messages[i].role, request.messages[i].text));
      add(chat.opening(text::Role::kAssistant));
      prompts.push_back(model_.codec.encode(pieces));
    }
    for (const CompletionRequest::Prompt& prompt : request.prompts) {
      if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) {
        prompts.push_back(*ids);
        continue;
      }
      prompts.push_back(model_.codec.encode(std::get<std::string>(prompt),
                                            {.add_special_tokens = request.add_special_tokens}));
      const int32_t start = model_.codec.start_of_text();
      if (prompts.back().empty() && start >= 0) prompts.back().push_back(start);
    }
  } catch (const text::TextRefused& refused) {
    return ApiError{.message = refused.what(), .param = request.chat ? "messages" : "prompt"};
  }
  return prompts;
}

Request BatchRunner::request_for(const CompletionRequest& completion, const std::string& custom_id,
                                 int64_t index) {
  Request request;
  request.max_tokens = completion.max_tokens.value_or(std::numeric_limits<int32_t>::max());
  request.sampling = options_.sampling;
  request.sampling.temperature = completion.temperature.value_or(request.sampling.temperature);
  request.sampling.top_p = completion.top_p.value_or(request.sampling.top_p);
  request.sampling.min_p = completion.min_p.value_or(request.sampling.min_p);
  request.sampling.top_k = completion.top_k.value_or(request.sampling.top_k);
  request.sampling.seed = completion.seed.value_or(options_.seed ^ hash_of(custom_id));
  request.stream = static_cast<uint64_t>(index);
  request.rules = completion.rules;
  request.top_log_probabilities = completion.logprobs.value_or(0);
  request.stop_tokens = completion.stop_token_ids;
  if (!completion.ignore_eos) {
    request.stop_tokens.insert(request.stop_tokens.end(), model_.end_ids.begin(), model_.end_ids.end());
    const int32_t end = completion.chat ? model_.codec.token_of((*chat_)->end_marker()) : -1;
    if (end >= 0) request.stop_tokens.push_back(end);
  }
  request.priority = completion.priority;
  request.draft_tokens = options_.draft_tokens;
  request.prompt_log_probabilities = completion.echo && completion.logprobs.has_value();
  return request;
}

Status BatchRunner::start(BatchLine line) {
  const auto refuse = [&](const ApiError& error) {
    return output_.write(line.custom_id, error.status, body_of(error));
  };
  std::variant<CompletionRequest, ApiError> parsed = parse_completion(line.body, line.chat);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return refuse(*error);
  auto job = std::make_unique<Job>();
  job->custom_id = line.custom_id;
  job->completion = std::move(std::get<CompletionRequest>(parsed));
  const CompletionRequest& completion = job->completion;
  if (!completion.model.empty() && completion.model != options_.model_name) {
    return refuse({.status = 404,
                   .message = "the model " + nlohmann::json(completion.model).dump() + " is not here, but " +
                              nlohmann::json(options_.model_name).dump(),
                   .param = "model",
                   .code = "model_not_found"});
  }
  std::variant<Prompts, ApiError> prompts = prompts_of(completion);
  if (const auto* error = std::get_if<ApiError>(&prompts)) return refuse(*error);
  const auto add = [&](const std::vector<int32_t>& prompt) {
    const size_t index = job->waiting.size();
    Request request = request_for(completion, job->custom_id, static_cast<int64_t>(index));
    request.prompt = prompt;
    job->texts.emplace_back(model_.codec, completion, prompt);
    request.on_token = [this, job = job.get(), index](const GeneratedToken& token) {
      submit_rest(*job, index);
      return job->texts[index].push(token.token);
    };
    request.on_end = [this, job = job.get(), index](RequestId, RequestResult result) {
      submit_rest(*job, index);
      ended(*job, index, std::move(result));
    };
    job->waiting.push_back(std::move(request));
  };
  for (const std::vector<int32_t>& prompt : std::get<Prompts>(prompts)) {
    job->prompt_tokens += static_cast<int64_t>(prompt.size());
    for (int32_t sample = 0; sample < completion.n; ++sample) add(prompt);
  }
  job->left = job->waiting.size();
  Job& started = *jobs_.emplace(job->custom_id, std::move(job)).first->second;
  // With a cache the first text of a prompt reads it, and the others come when it has.
  std::vector<RequestId> in_line;
  const auto step = static_cast<size_t>(options_.keeps_prompts ? completion.n : 1);
  for (size_t index = 0; index < started.texts.size(); index += step) {
    Request request = std::exchange(started.waiting[index], {});
    request.keep_prompt = step > 1;
    const bool too_long = static_cast<int64_t>(request.prompt.size()) >= scheduler_.context();
    const Result<RequestId> id = scheduler_.submit(std::move(request));
    if (id.ok()) {
      in_line.push_back(*id);
      continue;
    }
    // Prompts that are in line already end with the rest of their body.
    for (const RequestId other : in_line) scheduler_.forget(other);
    const std::string custom_id = started.custom_id;
    jobs_.erase(custom_id);
    return refuse({.message = id.error().message,
                   .param = line.chat ? "messages" : "prompt",
                   .code = too_long ? "context_length_exceeded" : ""});
  }
  return {};
}

// The other texts of a prompt whose first one has been begun.
void BatchRunner::submit_rest(Job& job, size_t first) {
  const auto n = static_cast<size_t>(job.completion.n);
  if (!options_.keeps_prompts || first % n != 0) return;
  for (size_t index = first + 1; index < first + n; ++index) {
    if (job.waiting[index].prompt.empty()) continue;
    const Result<RequestId> id = scheduler_.submit(std::exchange(job.waiting[index], {}));
    FATHOM_CHECK(id.ok(), "a text of a prompt that was accepted is refused");
  }
}

void BatchRunner::ended(Job& job, size_t index, RequestResult result) {
  if (result.error && !job.error)
    job.error = ApiError{.status = 500, .message = result.error->message, .type = "server_error"};
  job.texts[index].finish(std::move(result));
  if (--job.left > 0) return;
  if (Status written = finish(job); !written.ok() && failed_.ok()) failed_ = std::move(written);
  jobs_.erase(std::string(job.custom_id));
}

Status BatchRunner::finish(Job& job) {
  if (job.error) return output_.write(job.custom_id, job.error->status, body_of(*job.error));
  const CompletionIdentity identity = {.id = hex_of(hash_of(job.custom_id)),
                                       .created = options_.created,
                                       .model = options_.model_name,
                                       .system_fingerprint = options_.fingerprint};
  return output_.write(job.custom_id, 200,
                       completion_body(identity, job.completion, job.texts, job.prompt_tokens, model_.codec));
}

Status BatchRunner::run(BatchInput& input, const std::atomic<bool>& stop,
                        const std::function<void()>& on_pass) {
  bool more = true;
  while (!stop.load() && failed_.ok()) {
    // Enough in line that whoever ends is followed at once.
    while (more && scheduler_.waiting() < scheduler_.max_sequences()) {
      FATHOM_ASSIGN(std::optional<BatchLine> line, input.next());
      more = line.has_value();
      if (more && !output_.has(line->custom_id)) FATHOM_TRY(start(std::move(*line)));
    }
    if (!scheduler_.step() && !more) break;
    on_pass();
  }
  return failed_;
}

}  // namespace fathom::cli::batch
