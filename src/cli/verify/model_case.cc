#include "cli/verify/model_case.h"

#include <algorithm>
#include <filesystem>

#include "base/json.h"
#include "plan/spec_io.h"
#include "weights/model_source.h"

namespace fathom::cli::verify {

namespace {

constexpr int64_t kIgnored = -100;

// Cases of other kinds, by the start of their names.
Status refuse_other_kinds(const std::string& name) {
  for (const char* prefix : {"optimizer_", "init_", "varlen_", "packed_data", "tables"}) {
    if (name.starts_with(prefix))
      return not_supported("not supported yet: cases named " + std::string(prefix) + "*");
  }
  return {};
}

// Largest limit that case.json suggests under a key that starts with `word`.
void take_suggestion(const nlohmann::json& suggested, const std::string& word, double& limit) {
  for (const auto& [key, value] : suggested.items()) {
    if (key.starts_with("io: " + word) && value.is_number()) limit = value.get<double>();
  }
}

Limits limits_of(Family family, const nlohmann::json& record) {
  Limits limits;
  if (family == Family::kHybrid) {
    limits.logits = 1e-4;
    limits.losses = 1e-4;
    limits.states = 1e-4;
    limits.gradients = 1e-4;
    limits.gradient_measure = Measure::kOfLargest;
  }
  if (record.contains("suggested_tolerance") && record["suggested_tolerance"].is_object()) {
    const nlohmann::json& suggested = record["suggested_tolerance"];
    take_suggestion(suggested, "logits", limits.logits);
    take_suggestion(suggested, "logits", limits.states);
    take_suggestion(suggested, "loss", limits.losses);
    take_suggestion(suggested, "gradients", limits.gradients);
  }
  return limits;
}

// A checkpoint as it was saved, where the case is about one; else the case's own weights.
std::string weights_file(const std::string& directory) {
  const std::string archive = directory + "/pytorch_model.bin";
  return std::filesystem::exists(archive) ? archive : directory + "/weights.safetensors";
}

}  // namespace

bool ModelCase::routed() const {
  return std::ranges::any_of(plan.segments, [](const Segment& s) { return s.router.has_value(); });
}

Result<ModelCase> open_model_case(const std::string& directory, const std::string& name) {
  FATHOM_TRY(refuse_other_kinds(name));
  ModelCase c;
  c.path = directory;
  c.name = name;
  FATHOM_ASSIGN(c.record, read_json_file(directory + "/case.json"));
  FATHOM_ASSIGN(ModelSpec spec, load_spec(directory));
  // Recorded in float from a model that was bfloat16 as a whole, its rotary frequencies too.
  spec.rope_frequencies_bf16 = c.record.value("saved_precision", std::string()) == "bf16";
  FATHOM_ASSIGN(ModelSource source, open_model_source(spec, weights_file(directory)));
  c.plan = std::move(source.plan);
  c.scheme = source.scheme;
  c.weights = std::move(source.files);
  c.family = c.scheme == NamingScheme::kLlama || c.scheme == NamingScheme::kMor ? Family::kRecursions
                                                                                : Family::kHybrid;
  FATHOM_ASSIGN(c.io, RecordedTensors::read(directory + "/io.safetensors"));
  c.limits = limits_of(c.family, c.record);
  return c;
}

Result<std::vector<CaseSequence>> sequences_of(ModelCase& c) {
  FATHOM_ASSIGN(const RecordedTensor* ids, c.io.require("input_ids"));
  if (ids->shape.size() != 2 || ids->ids.empty())
    return invalid(c.path + ": input_ids is not an int64 [batch, length]");
  const int64_t batch = ids->extent(0), length = ids->extent(1);
  const RecordedTensor* labels = c.io.has("labels") ? &c.io.at("labels") : nullptr;
  const RecordedTensor* mask = c.io.has("attention_mask") ? &c.io.at("attention_mask") : nullptr;
  if ((labels != nullptr && labels->shape != ids->shape) || (mask != nullptr && mask->shape != ids->shape)) {
    return invalid(c.path + ": labels and attention_mask must have the shape of input_ids");
  }
  std::vector<CaseSequence> sequences;
  for (int64_t b = 0; b < batch; ++b) {
    CaseSequence sequence;
    sequence.batch = b;
    const auto real = [&](int64_t t) {
      return mask == nullptr || mask->ids[static_cast<size_t>(b * length + t)] != 0;
    };
    for (int64_t t = 0; t < length; ++t) {
      // Padding that takes part in routing stays, behind the rows that write keys.
      if (!real(t) && !c.routed()) continue;
      if (real(t) && sequence.key_rows != static_cast<int64_t>(sequence.places.size())) {
        return not_supported("not supported yet: left padding of a routed model");
      }
      sequence.places.push_back(t);
      sequence.key_rows += real(t) ? 1 : 0;
      const int64_t id = ids->ids[static_cast<size_t>(b * length + t)];
      if (id < 0 || id >= c.plan.dims.vocab_size) return invalid(c.path + ": token id " + std::to_string(id));
      sequence.tokens.push_back(static_cast<int32_t>(id));
      int64_t label = kIgnored;
      if (labels != nullptr && c.family == Family::kHybrid) {
        label = labels->ids[static_cast<size_t>(b * length + t)];
      } else if (labels != nullptr && t + 1 < length) {
        label = labels->ids[static_cast<size_t>(b * length + t + 1)];
      }
      sequence.labels.push_back(static_cast<int32_t>(label));
    }
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

double items_in_batch(ModelCase& c, const std::vector<CaseSequence>& sequences) {
  int64_t counted = 0;
  for (const CaseSequence& sequence : sequences)
    counted += std::ranges::count_if(sequence.labels, [](int32_t label) { return label >= 0; });
  if (c.family == Family::kHybrid || !c.io.has("labels")) return static_cast<double>(counted);
  counted = std::ranges::count_if(c.io.at("labels").ids, [](int64_t label) { return label != kIgnored; });
  const bool accumulates = c.record.contains("accumulation_A") && c.record["accumulation_A"].is_number();
  return static_cast<double>(counted) * (accumulates ? c.record["accumulation_A"].get<double>() : 1.0);
}

void RowComparison::add(const CaseSequence& sequence, const float* got, int64_t rows, int64_t columns,
                        const RecordedTensor& recorded) {
  const int64_t length = recorded.extent(1);
  for (int64_t r = 0; r < rows; ++r) {
    got_.insert(got_.end(), got + r * columns, got + (r + 1) * columns);
    const int64_t at = (sequence.batch * length + sequence.places[static_cast<size_t>(r)]) * columns;
    if (at + columns > static_cast<int64_t>(recorded.values.size()))
      continue;  // lengths differ: reported as infinite
    expected_.insert(expected_.end(), recorded.values.begin() + at, recorded.values.begin() + at + columns);
  }
}

void RowComparison::report(Report& report, const std::string& executor, const std::string& tensor,
                           Kind kind) const {
  report.compare(executor, tensor, kind, got_, expected_);
}

bool belongs_to_training(const std::string& tensor) {
  if (tensor.starts_with("grad.") || tensor.starts_with("call") || tensor == "loss") return true;
  if (tensor.starts_with("scalar.")) return tensor != "scalar.eval.loss_mean";
  return tensor.starts_with("router.") &&
         (tensor.ends_with(".sampling_loss") || tensor.ends_with(".sampling_acc") ||
          tensor.ends_with(".router_z_loss"));
}

}  // namespace fathom::cli::verify
