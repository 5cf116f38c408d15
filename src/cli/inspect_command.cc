// fathom inspect: what is in a model directory or a file of tensors, without loading it; with --depths how
// deep the tokens of a text go.
#include <algorithm>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/flag_checks.h"
#include "cli/inspect_depths.h"
#include "cli/loaded_model.h"
#include "cli/threads_flag.h"
#include "io/model_directory.h"
#include "io/tensor_statistics.h"
#include "io/weight_files.h"

namespace fathom::cli {

namespace {

using nlohmann::ordered_json;

struct Flags {
  std::string path, tensor;
  bool json = false;
  std::string depths, prompt, file, routing = "threshold";
  int threads = 0;
  bool has_prompt = false, has_routing = false, has_threads = false;
};

struct Inspected {
  WeightFiles weights;
  std::optional<ModelDirectory> model;  // absent for a single file and for a directory without config.json
};

Result<Inspected> open(const std::string& path) {
  std::error_code ignored;
  const auto model_in = [&](const std::string& folder) -> Result<std::optional<ModelDirectory>> {
    if (!std::filesystem::exists(folder + "/config.json", ignored)) return std::optional<ModelDirectory>();
    FATHOM_ASSIGN(ModelDirectory model, ModelDirectory::open(folder));
    return std::optional(std::move(model));
  };
  // A run has a config.json, too; what is wrong with it is said before that there are no weights.
  FATHOM_ASSIGN(std::optional<ModelDirectory> model, model_in(path));
  std::string place = path;
  if (std::filesystem::is_directory(path, ignored)) {
    FATHOM_ASSIGN(place, resolve_model(path));
  }
  if (place != path) {
    FATHOM_ASSIGN(model, model_in(place));
  }
  FATHOM_ASSIGN(WeightFiles weights, WeightFiles::open(place));
  return Inspected{std::move(weights), std::move(model)};
}

// The sizes that tell models apart, in the order of reading; config.json may hold much more.
constexpr std::array kSummaryKeys = {"architectures",
                                     "model_type",
                                     "vocab_size",
                                     "hidden_size",
                                     "intermediate_size",
                                     "num_hidden_layers",
                                     "num_attention_heads",
                                     "num_key_value_heads",
                                     "max_position_embeddings",
                                     "sliding_window",
                                     "rope_theta",
                                     "tie_word_embeddings",
                                     "torch_dtype",
                                     "dtype"};

ordered_json config_summary(const nlohmann::json& config) {
  ordered_json summary = ordered_json::object();
  for (const char* key : kSummaryKeys) {
    if (config.contains(key)) summary[key] = config[key];
  }
  return summary;
}

// The first name of each place in a file; further names of it are ties.
using Places = std::map<std::pair<const uint8_t*, uint64_t>, std::string>;

std::pair<const uint8_t*, uint64_t> place_of(const StoredTensor& stored) {
  return {stored.bytes().data(), stored.info->bytes()};
}

Places places_of(const WeightFiles& weights) {
  Places places;
  for (const StoredTensor& stored : weights.tensors()) {
    if (stored.info->bytes() > 0) places.emplace(place_of(stored), stored.info->name);
  }
  return places;
}

// The name that the tensor's place had before; empty for a tensor of its own.
std::string tied_to(const Places& places, const StoredTensor& stored) {
  const auto found = places.find(place_of(stored));
  return found == places.end() || found->second == stored.info->name ? "" : found->second;
}

// Tied tensors count once.
ordered_json totals_of(const WeightFiles& weights) {
  struct Sum {
    uint64_t tensors = 0, elements = 0, bytes = 0;
    void add(const TensorInfo& info) {
      ++tensors;
      elements += info.elements();
      bytes += info.bytes();
    }
    ordered_json to_json() const { return {{"tensors", tensors}, {"elements", elements}, {"bytes", bytes}}; }
  };
  Sum all;
  std::map<std::string, Sum> by_dtype;
  const Places places = places_of(weights);
  for (const StoredTensor& stored : weights.tensors()) {
    if (!tied_to(places, stored).empty()) continue;
    all.add(*stored.info);
    by_dtype[std::string(safetensors_name_of(stored.info->dtype))].add(*stored.info);
  }
  ordered_json totals = all.to_json();
  totals["dtypes"] = ordered_json::object();
  for (const auto& [dtype, sum] : by_dtype) totals["dtypes"][dtype] = sum.to_json();
  return totals;
}

ordered_json describe(const StoredTensor& stored) {
  return {{"name", stored.info->name},
          {"dtype", safetensors_name_of(stored.info->dtype)},
          {"shape", stored.info->shape},
          {"bytes", stored.info->bytes()},
          {"file", std::filesystem::path(stored.file->path()).filename().string()}};
}

ordered_json describe(const Inspected& inspected) {
  ordered_json out = {{"path", inspected.weights.path()}};
  if (inspected.model) {
    out["config"] = config_summary(inspected.model->config());
    out["tokenizer_files"] = inspected.model->tokenizer_files();
  }
  out["files"] = ordered_json::array();
  for (const auto& file : inspected.weights.files()) {
    out["files"].push_back({{"name", std::filesystem::path(file->path()).filename().string()},
                            {"tensors", file->tensors().size()},
                            {"metadata", file->metadata()}});
  }
  out["totals"] = totals_of(inspected.weights);
  out["tensors"] = ordered_json::array();
  const Places places = places_of(inspected.weights);
  for (const StoredTensor& stored : inspected.weights.tensors()) {
    ordered_json& tensor = out["tensors"].emplace_back(describe(stored));
    const std::string first = tied_to(places, stored);
    if (!first.empty()) tensor["tied_to"] = first;
  }
  return out;
}

ordered_json statistics_of(const StoredTensor& stored) {
  const TensorStatistics s = tensor_statistics(*stored.file, *stored.info);
  ordered_json out = describe(stored);
  out.update(ordered_json{{"elements", s.elements},
                          {"nan", s.nan},
                          {"infinite", s.infinite},
                          {"zeros", s.zeros},
                          {"min", s.min},
                          {"max", s.max},
                          {"mean", s.mean},
                          {"deviation", s.deviation}});
  return out;
}

// A name or value may hold anything that JSON can; a terminal gets none of its control characters.
std::string printable(const ordered_json& value) {
  const std::string text = value.is_string()
                               ? value.get<std::string>()
                               : value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  std::string safe;
  for (char c : text) safe += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return safe;
}

void print_pairs(const char* title, const ordered_json& object) {
  if (object.empty()) return;
  std::cout << "\n" << title << "\n";
  size_t width = 0;
  for (const auto& [key, value] : object.items()) width = std::max(width, key.size());
  for (const auto& [key, value] : object.items()) {
    std::cout << "  " << std::left << std::setw(static_cast<int>(width)) << printable(key) << "  "
              << printable(value) << "\n";
  }
}

void print_tensors(const ordered_json& tensors) {
  size_t name_width = 0, shape_width = 0;
  for (const auto& tensor : tensors) {
    name_width = std::max(name_width, printable(tensor["name"]).size());
    shape_width = std::max(shape_width, printable(tensor["shape"]).size());
  }
  std::cout << "\ntensors\n";
  for (const auto& tensor : tensors) {
    std::cout << "  " << std::left << std::setw(static_cast<int>(name_width)) << printable(tensor["name"])
              << "  " << std::setw(4) << printable(tensor["dtype"]) << "  "
              << std::setw(static_cast<int>(shape_width)) << printable(tensor["shape"]) << "  " << std::right
              << std::setw(12) << printable(tensor["bytes"]) << " bytes"
              << (tensor.contains("tied_to") ? ", tied to " + printable(tensor["tied_to"]) : std::string())
              << "\n";
  }
}

void print_totals(const ordered_json& totals) {
  const auto line = [](const std::string& name, const ordered_json& sum) {
    std::cout << "  " << std::left << std::setw(5) << name << std::right << std::setw(8)
              << printable(sum["tensors"]) << " tensors" << std::setw(16) << printable(sum["elements"])
              << " elements" << std::setw(16) << printable(sum["bytes"]) << " bytes\n";
  };
  std::cout << "\ntotals\n";
  for (const auto& [dtype, sum] : totals["dtypes"].items()) line(dtype, sum);
  line("all", totals);
}

void print_report(const ordered_json& report) {
  std::cout << printable(report["path"]) << "\n";
  if (report.contains("config")) print_pairs("config", report["config"]);
  for (const auto& file : report["files"])
    print_pairs(("metadata of " + printable(file["name"])).c_str(), file["metadata"]);
  print_tensors(report["tensors"]);
  print_totals(report["totals"]);
}

Result<int> show_depths(const Flags& flags) {
  if (!flags.tensor.empty() || flags.json)
    return wrong_usage(std::string("--depths and ") + (flags.json ? "--json" : "--tensor") +
                       " exclude each other");
  if (flags.has_prompt == !flags.file.empty())
    return wrong_usage("--depths needs a text: either --prompt or --file");
  DepthsRequest request{.model = flags.path,
                        .text = flags.prompt,
                        .top_k = flags.routing == "topk",
                        .threads = flags.threads,
                        .out = flags.depths};
  if (!flags.has_prompt) {
    FATHOM_ASSIGN(request.text, read_file(flags.file, uint64_t{64} << 20));
  }
  FATHOM_TRY(inspect_depths(request));
  return kExitOk;
}

Result<int> inspect(const Flags& flags) {
  if (!flags.depths.empty()) return show_depths(flags);
  const std::pair<const char*, bool> for_depths[] = {{"--prompt", flags.has_prompt},
                                                     {"--file", !flags.file.empty()},
                                                     {"--routing", flags.has_routing},
                                                     {"--threads", flags.has_threads}};
  for (const auto& [flag, given] : for_depths) {
    if (given) return wrong_usage(std::string(flag) + " is for --depths");
  }
  FATHOM_ASSIGN(const Inspected inspected, open(flags.path));
  ordered_json report;
  if (flags.tensor.empty()) {
    report = describe(inspected);
  } else {
    FATHOM_ASSIGN(const StoredTensor stored, inspected.weights.require(flags.tensor));
    report = statistics_of(stored);
  }
  if (flags.json) {
    std::cout << report.dump(2, ' ', false, ordered_json::error_handler_t::replace) << "\n";
  } else if (flags.tensor.empty()) {
    print_report(report);
  } else {
    print_pairs("tensor", report);
  }
  return kExitOk;
}

}  // namespace

Action declare_inspect(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option(
         "path", flags->path,
         "a model directory, the directory of a run, a .safetensors file or an archive of torch (.bin, "
         ".pt, .pth)")
      ->required();
  app.add_option("--tensor", flags->tensor, "statistics of this tensor's values");
  app.add_flag("--json", flags->json, "print JSON");
  app.add_option("--depths", flags->depths,
                 "write an HTML page of a text with each token coloured by its recursion depth")
      ->check(not_empty());
  auto* prompt = app.add_option("--prompt,-p", flags->prompt, "the text of --depths");
  app.add_option("--file,-f", flags->file, "read the text of --depths from a file")->check(not_empty());
  auto* routing = app.add_option("--routing", flags->routing,
                                 "of --depths: threshold is causal, topk as published, the text one call")
                      ->check(CLI::IsMember({"threshold", "topk"}))
                      ->capture_default_str();
  auto* threads = add_threads_flag(app, flags->threads, "of --depths; 0: all cores");
  return [flags, prompt, routing, threads] {
    flags->has_prompt = prompt->count() > 0;
    flags->has_routing = routing->count() > 0;
    flags->has_threads = threads->count() > 0;
    return inspect(*flags);
  };
}

}  // namespace fathom::cli
