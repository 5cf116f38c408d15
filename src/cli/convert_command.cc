// fathom convert: a checkpoint of any kind that Fathom reads, as a model directory.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/figures.h"
#include "cli/flag_checks.h"
#include "cli/loaded_model.h"
#include "cli/model_specs.h"
#include "cli/output_folder.h"
#include "cli/stop_signal.h"
#include "io/atomic_directory.h"
#include "io/model_directory.h"
#include "plan/published_names.h"
#include "plan/spec_io.h"
#include "weights/converted_tensors.h"
#include "weights/stored_matrix.h"
#include "weights/uptraining.h"

namespace fathom::cli {

namespace {

namespace fs = std::filesystem;

std::atomic<bool> stopped{false};

struct Flags {
  std::string source, out, dtype, spec;
  std::string format = "fathom";
  bool unroll = false;
};

// What a source says about itself: the model of its config.json, if it has one, and the names and shapes of
// its tensors.
struct Described {
  std::string path;                     // of the weights: a directory or a file
  std::optional<ModelDirectory> model;  // none for a file
  std::optional<ModelSpec> spec;
  std::vector<NamedShape> tensors;
};

Result<Described> describe(const std::string& source) {
  Described described;
  described.path = source;
  std::error_code ignored;
  if (fs::is_directory(source, ignored)) {
    FATHOM_ASSIGN(described.path, resolve_model(source));
    if (fs::exists(fs::path(described.path) / "config.json", ignored)) {
      FATHOM_ASSIGN(described.model, ModelDirectory::open(described.path));
      FATHOM_ASSIGN(described.spec, load_spec(described.path));
    }
  }
  FATHOM_ASSIGN(const WeightFiles files, WeightFiles::open(described.path));
  described.tensors = names_and_shapes(files);
  return described;
}

// A TOML file says what it says over what is known; any other specification is a whole one.
Result<ModelSpec> spec_of(const Described& source, const Flags& flags) {
  const auto recursion = published_recursion(source.tensors);
  const bool unknown = source.spec && recursion && !source.spec->router;
  std::optional<ModelSpec> known = source.spec;
  if (unknown) known = with_recursion(*source.spec, *recursion);
  std::vector<std::string> said;
  if (!flags.spec.empty()) {
    if (!known || !flags.spec.ends_with(".toml")) return find_spec(flags.spec);
    FATHOM_ASSIGN(known, load_spec_over(*known, flags.spec, &said));
  }
  if (!known) {
    return invalid(source.path + ": no config.json says what model this is, expected --spec");
  }
  if (!unknown) return *known;
  std::string missing;
  for (const char* field : {"router.alpha", "router.score"}) {
    if (std::ranges::find(said, field) == said.end())
      missing += (missing.empty() ? "" : " and ") + std::string(field);
  }
  if (missing.empty()) return *known;
  return invalid(source.path + ": the tensors are those of a routed model (" + to_sentence(*recursion) +
                 "), and neither config.json nor --spec says " + missing);
}

// The recursion written out: a layer for each pass through one.
Result<ModelSpec> unrolled(const ModelPlan& plan) {
  ModelSpec spec = plan.spec;
  if (spec.sharing == Sharing::kNone) return invalid("--unroll: the model has no recursion");
  if (spec.router)
    return invalid("--unroll: a routed model is no stack of layers, expected a plain recursion");
  if (spec.kv != KvMode::kRecursionWise)
    return invalid("--unroll: recursions that share keys and values are no stack of layers");
  if (spec.relaxation)
    return invalid("--unroll: a relaxed model is no stack of layers, expected one without relaxation");
  spec = vanilla_spec(spec, spec.tie_word_embeddings);
  spec.num_hidden_layers = plan.num_unrolled_layers();
  return spec;
}

// The embedding's, or bfloat16 where it is kept in that type.
DType matrix_type(const Flags& flags, const ModelSource& source) {
  if (!flags.dtype.empty()) return flags.dtype == "bf16" ? DType::kBF16 : DType::kF32;
  return stored_matrix_types(source);
}

// generation_config.json and the tokenizer go along; ids that end a text are kept wherever they stood.
Status copy_companions(const ModelDirectory& model, ModelDirectoryContent& content) {
  if (model.generation_config().is_object()) content.generation_config = model.generation_config();
  FATHOM_ASSIGN(const std::vector<int32_t> ends, model.end_of_text_ids());
  if (!content.generation_config && !ends.empty())
    content.generation_config = nlohmann::ordered_json{{"eos_token_id", ends}};
  for (const std::string& name : model.tokenizer_files()) {
    FATHOM_ASSIGN(std::string text, read_file(model.file(name)));
    content.files.emplace_back(name, std::move(text));
  }
  return {};
}

// The same tensors, up to the piece before which the work is stopped.
StreamedTensors stoppable(StreamedTensors tensors) {
  tensors.data = [data = std::move(tensors.data)](const std::string& tensor, const AppendBytes& append) {
    return data(tensor, [&](std::span<const uint8_t> bytes) -> Status {
      FATHOM_TRY(cancelled_if(stopped));
      return append(bytes);
    });
  };
  return tensors;
}

Result<int> convert(const Flags& flags) {
  FATHOM_TRY(check_not_there(flags.out));
  FATHOM_ASSIGN(const Described described, describe(flags.source));
  FATHOM_ASSIGN(const ModelSpec spec, spec_of(described, flags));
  FATHOM_ASSIGN(const ModelSource source, open_model_source(spec, described.path));
  if (const DType held = quantised_type(*source.files); held != DType::kF32) {
    return invalid(flags.source + ": the matrices are " + std::string(name_of(held)) +
                   ", from which none of the values they were made of come back; "
                   "expected the model that was quantised");
  }
  ModelSpec target = source.plan.spec;
  if (flags.unroll) {
    FATHOM_ASSIGN(target, unrolled(source.plan));
  }
  if (flags.format == "hf" && !is_plain_llama(target)) {
    return invalid(flags.source +
                   ": transformers has no class for this model; --to hf writes a plain Llama, and "
                   "--unroll makes one of a recursion without a router");
  }
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(target));
  const DType type = matrix_type(flags, source);
  FATHOM_ASSIGN(StreamedTensors converted, converted_tensors(source, plan, type));
  const StreamedTensors tensors = stoppable(std::move(converted));
  ModelDirectoryContent content;
  content.config = nlohmann::ordered_json::parse(write_config_json(target));
  if (flags.format == "hf") content.config["torch_dtype"] = type == DType::kBF16 ? "bfloat16" : "float32";
  if (described.model) FATHOM_TRY(copy_companions(*described.model, content));
  catch_stop_signals(stopped, "nothing is kept");
  FATHOM_ASSIGN(AtomicDirectory directory, AtomicDirectory::begin(flags.out));
  const Status written = write_model_files(directory.path(), content, tensors);
  if (stopped.load()) return kExitInterrupted;
  FATHOM_TRY(written);
  FATHOM_TRY(directory.commit());
  double bytes = 0;
  for (const TensorSpec& tensor : tensors.specs) {
    FATHOM_ASSIGN(const uint64_t stored, bytes_of(tensor));
    bytes += static_cast<double>(stored);
  }
  std::cout << flags.out << ": " << tensors.specs.size() << " tensors, matrices in " << name_of(type) << ", "
            << short_count(bytes) << "B\n";
  return kExitOk;
}

}  // namespace

Action declare_convert(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("source", flags->source,
                 "a model directory, the directory of a run, a .safetensors file or an archive of torch")
      ->required();
  app.add_option("--out,-o", flags->out, "the directory to write")->required()->check(not_empty());
  app.add_option("--dtype", flags->dtype,
                 "type of the matrices (default: bf16 if they are stored so, else f32)")
      ->check(CLI::IsMember({"bf16", "f32"}));
  app.add_option("--spec", flags->spec,
                 "what the source does not say: a TOML file of fields, or a whole specification");
  app.add_option("--to", flags->format, "layout: fathom, or hf for transformers (plain Llama models)")
      ->check(CLI::IsMember({"fathom", "hf"}))
      ->capture_default_str();
  app.add_flag("--unroll", flags->unroll, "write a recursion without a router as a stack of layers");
  return [flags] { return convert(*flags); };
}

}  // namespace fathom::cli
