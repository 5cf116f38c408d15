#include "cli/verify/model_case.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/json.h"
#include "plan/spec_io.h"
#include "weights/model_source.h"

namespace fathom::cli::verify {

namespace {

constexpr int64_t kIgnored = -100;

// Largest limit that case.json suggests under a key that starts with `word`.
void take_suggestion(const nlohmann::json& suggested, const std::string& word, double& limit) {
  for (const auto& [key, value] : suggested.items()) {
    if (key.starts_with("io: " + word) && value.is_number()) limit = value.get<double>();
  }
}

// Ten times what float arithmetic cost the recording itself: another float program cannot be expected nearer.
// 0 where it is not said.
double float_cost(const nlohmann::json& record, const char* group, const char* measured) {
  const auto found = record.find(group);
  if (found == record.end() || !found->is_object()) return 0;
  const auto error = found->find(measured);
  return error != found->end() && error->is_number() ? 10 * error->get<double>() : 0;
}

// For a whole model the limit grows tenfold at the most.
void allow_for_float(const nlohmann::json& record, const char* group, const char* measured, double& limit) {
  limit = std::max(limit, std::min(float_cost(record, group, measured), 10 * limit));
}

Limits limits_of(Family family, const nlohmann::json& record) {
  Limits limits;
  if (family == Family::kHybrid) {
    limits.logits = 1e-4;
    limits.losses = 1e-4;
    limits.states = 1e-4;
    limits.gradients = 1e-4;
    limits.gradient_measure = Measure::kOfLargest;
    allow_for_float(record, "fp32_vs_fp64", "max_abs_logits", limits.logits);
    allow_for_float(record, "fp32_vs_fp64", "max_abs_hidden_or_memory", limits.states);
    allow_for_float(record, "fp32_vs_fp64", "max_grad_error_relative_to_tensor_max", limits.gradients);
    limits.gradients_in_float = float_cost(record, "fp32_vs_fp64", "max_grad_error_relative_to_tensor_max");
    for (double* limit : {&limits.logits, &limits.states})
      allow_for_float(record, "max_abs_difference", "logits_fp32_vs_fp64", *limit);
    // Where nothing is said of gradients, what holds of logits.
    if (!record.contains("fp32_vs_fp64")) limits.gradients = std::max(limits.gradients, limits.logits);
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
  for (const char* saved : {"/pytorch_model.bin", "/weights.safetensors", "/model.safetensors"}) {
    if (std::filesystem::exists(directory + saved)) return directory + saved;
  }
  return directory + "/weights.safetensors";
}

}  // namespace

bool ModelCase::training_differs() const {
  if (io.has("eval.logits")) return true;
  return std::ranges::any_of(plan.segments, [](const Segment& segment) {
    return segment.router &&
           (segment.router->spec.capacity_warmup_steps > 1 || segment.router->spec.balance_warmup_steps > 1);
  });
}

Result<ModelCase> open_model_case(const std::string& directory, const std::string& name) {
  ModelCase c;
  c.path = directory;
  c.name = name;
  FATHOM_ASSIGN(c.record, read_json_file(directory + "/case.json"));
  FATHOM_ASSIGN(ModelSpec spec, load_spec(directory));
  // Recorded in float from a model that was bfloat16 as a whole, its rotary frequencies too.
  spec.rope_frequencies_bf16 =
      spec.architecture == "llama" && c.record.value("saved_precision", std::string()) == "bf16";
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

std::optional<double> recorded_scalar(ModelCase& c, const std::string& name) {
  if (c.io.has(name)) return c.io.at(name).values.front();
  constexpr std::string_view kPrefix = "scalar.";
  const auto scalars = c.record.find("scalars");
  if (!name.starts_with(kPrefix) || scalars == c.record.end() || !scalars->is_object()) return std::nullopt;
  const auto found = scalars->find(name.substr(kPrefix.size()));
  if (found == scalars->end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::vector<std::pair<int64_t, int64_t>> documents_of(std::span<const int64_t> row, int64_t end_of_document) {
  std::vector<std::pair<int64_t, int64_t>> documents;
  const auto length = static_cast<int64_t>(row.size());
  for (int64_t t = 0, begin = 0; t < length; ++t) {
    if (row[static_cast<size_t>(t)] != end_of_document && t + 1 < length) continue;
    documents.emplace_back(begin, t + 1);
    begin = t + 1;
  }
  return documents;
}

namespace {

// Tokens [begin, end) of an entry of the batch.
struct RowPiece {
  int64_t row = 0, begin = 0, end = 0;
};

// Whole rows; of a model that cuts them (use_cu_seqlen) and of a case with segments, rows cut behind each end
// of a document. The record may list an empty last one.
Result<std::vector<RowPiece>> pieces_of(const ModelCase& c, const RecordedTensor& ids) {
  std::vector<RowPiece> pieces;
  const int64_t length = ids.extent(1);
  FATHOM_ASSIGN(const nlohmann::json config, read_json_file(c.path + "/config.json"));
  const bool listed = c.record.contains("segments");
  const auto cuts = config.find("use_cu_seqlen");
  if (!listed && (cuts == config.end() || *cuts != true)) {
    for (int64_t row = 0; row < ids.extent(0); ++row) pieces.push_back({row, 0, length});
    return pieces;
  }
  const nlohmann::json end = c.record.value("eos_token_id", config.value("eos_token_id", nlohmann::json()));
  if (!end.is_number_integer() || (listed && ids.extent(0) != 1))
    return invalid(c.path + "/case.json: segments without eos_token_id, or of several rows");
  nlohmann::json cut = nlohmann::json::array();
  for (int64_t row = 0; row < ids.extent(0); ++row) {
    const auto tokens =
        std::span(ids.ids).subspan(static_cast<size_t>(row * length), static_cast<size_t>(length));
    for (const auto& [begin, behind] : documents_of(tokens, end.get<int64_t>())) {
      pieces.push_back({row, begin, behind});
      cut.push_back({begin, behind});
    }
  }
  if (!listed) return pieces;
  nlohmann::json recorded = c.record["segments"];
  if (!recorded.empty() && recorded.back() == nlohmann::json({length, length}))
    recorded.erase(recorded.size() - 1);
  if (recorded != cut) {
    return invalid(c.path + "/case.json: segments are " + recorded.dump() +
                   ", documents end so that they are " + cut.dump());
  }
  return pieces;
}

}  // namespace

Result<std::vector<CaseSequence>> sequences_of(ModelCase& c, const std::string& prefix) {
  FATHOM_ASSIGN(const RecordedTensor* ids, c.io.require(prefix + "input_ids"));
  if (ids->shape.size() != 2 || ids->ids.empty())
    return invalid(c.path + ": input_ids is not an int64 [batch, length]");
  const int64_t length = ids->extent(1);
  const RecordedTensor* labels = c.io.has(prefix + "labels") ? &c.io.at(prefix + "labels") : nullptr;
  const RecordedTensor* mask =
      c.io.has(prefix + "attention_mask") ? &c.io.at(prefix + "attention_mask") : nullptr;
  for (const RecordedTensor* other : {labels, mask}) {
    if (other != nullptr && (other->shape != ids->shape || other->ids.empty()))
      return invalid(c.path + ": labels and attention_mask must be integers in the shape of input_ids");
  }
  // Cases of training steps may leave the labels to the tokens, as those of a loss alone do.
  const bool labels_are_tokens =
      labels == nullptr && (c.io.has("loss") || c.record.contains("micro_batches"));
  std::vector<CaseSequence> sequences;
  FATHOM_ASSIGN(const std::vector<RowPiece> pieces, pieces_of(c, *ids));
  for (const auto& [b, first, end] : pieces) {
    CaseSequence sequence;
    sequence.batch = b;
    sequence.first_position = first;
    const auto real = [&](int64_t t) {
      return mask == nullptr || mask->ids[static_cast<size_t>(b * length + t)] != 0;
    };
    for (int64_t t = first; t < end; ++t) {
      // Padding behind a row looks at its keys and takes part in routing; before a row it does neither,
      // unless there is a router.
      const bool before = sequence.key_rows == 0;
      if (!real(t) && (c.family == Family::kHybrid || (before && !is_routed(c.plan)))) continue;
      if (real(t) && sequence.key_rows != static_cast<int64_t>(sequence.places.size())) {
        return not_supported("not supported yet: padding before or inside a row of a routed model");
      }
      sequence.places.push_back(t);
      sequence.key_rows += real(t) ? 1 : 0;
      const int64_t id = ids->ids[static_cast<size_t>(b * length + t)];
      if (id < 0 || id >= c.plan.dims.vocab_size) return invalid(c.path + ": token id " + std::to_string(id));
      sequence.tokens.push_back(static_cast<int32_t>(id));
      int64_t label = kIgnored;
      if (labels != nullptr && c.family == Family::kHybrid) {
        label = labels->ids[static_cast<size_t>(b * length + t)];
        if (label < 0) label = kIgnored;  // -1, too, is ignored in validation
      } else if (labels != nullptr && t + 1 < length) {
        label = labels->ids[static_cast<size_t>(b * length + t + 1)];
      } else if (labels_are_tokens && t + 1 < length) {
        label = ids->ids[static_cast<size_t>(b * length + t + 1)];
      }
      sequence.labels.push_back(static_cast<int32_t>(label));
    }
    // A row of padding alone has nothing that is looked at.
    if (sequence.places.empty()) continue;
    // The published positions of this family count the padding before a row.
    if (c.family == Family::kRecursions) sequence.first_position = sequence.places.front();
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

namespace {

// Micro-batches of the step that the case is one of.
int64_t accumulation_of(const ModelCase& c) {
  const auto found = c.record.find("accumulation_A");
  const bool given = found != c.record.end() && found->is_number_integer() && *found > 0;
  return given ? found->get<int64_t>() : 1;
}

}  // namespace

double items_in_batch(ModelCase& c, const std::vector<CaseSequence>& sequences) {
  int64_t counted = 0;
  for (const CaseSequence& sequence : sequences)
    counted += std::ranges::count_if(sequence.labels, [](int32_t label) { return label >= 0; });
  if (c.family == Family::kHybrid || !c.io.has("labels")) return static_cast<double>(counted);
  const auto recorded = c.record.find("num_items_in_batch");
  if (recorded != c.record.end() && recorded->is_number()) return recorded->get<double>();
  counted = std::ranges::count_if(c.io.at("labels").ids, [](int64_t label) { return label != kIgnored; });
  return static_cast<double>(counted) * static_cast<double>(accumulation_of(c));
}

double router_divisor(ModelCase& c, const std::vector<CaseSequence>& sequences) {
  const double items = items_in_batch(c, sequences);
  const auto places = static_cast<double>(c.io.at("input_ids").ids.size());
  return items > 0 && places > 0 ? items / places : 1;
}

std::vector<float> router_draws(ModelCase& c, const CaseSequence& sequence) {
  std::vector<float> draws;
  for (const Segment& segment : c.plan.segments) {
    if (!segment.router || !segment.router->spec.random) continue;
    const size_t rows = sequence.tokens.size();
    draws.resize(static_cast<size_t>(segment.repeat) * rows);
    const auto alpha = static_cast<float>(segment.router->spec.alpha);
    if (segment.router->spec.kind == RouterKind::kTokenChoice) {
      // [batch, length, depths], all drawn at once.
      if (!c.io.has("router.scores_for_argmax")) return {};
      const RecordedTensor& scores = c.io.at("router.scores_for_argmax");
      for (size_t row = 0; row < rows; ++row) {
        const auto place = static_cast<size_t>(sequence.batch * scores.extent(1) + sequence.places[row]);
        for (size_t depth = 0; depth < static_cast<size_t>(segment.repeat); ++depth)
          draws[depth * rows + row] =
              scores.values.at(place * static_cast<size_t>(segment.repeat) + depth) / alpha;
      }
      continue;
    }
    for (int32_t depth = 0; depth < segment.repeat; ++depth) {
      const std::string name = "router." + std::to_string(depth);
      if (!c.io.has(name + ".random_weights") || !c.io.has(name + ".candidates")) return {};
      const RecordedTensor& weights = c.io.at(name + ".random_weights");
      const RecordedTensor& candidates = c.io.at(name + ".candidates");
      const int64_t count = candidates.extent(1);
      for (int64_t i = 0; i < count; ++i) {
        const auto at = static_cast<size_t>(sequence.batch * count + i);
        const auto found = std::ranges::find(sequence.places, candidates.ids.at(at));
        if (found == sequence.places.end()) continue;
        const auto row = static_cast<size_t>(found - sequence.places.begin());
        draws[static_cast<size_t>(depth) * rows + row] = weights.values.at(at) / alpha;
      }
    }
  }
  return draws;
}

double negative_log_likelihood(std::span<const float> logits, int32_t label) {
  const double largest = *std::ranges::max_element(logits);
  double total = 0;
  for (const float logit : logits) total += std::exp(logit - largest);
  return largest + std::log(total) - logits[static_cast<size_t>(label)];
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
  if (tensor == "router.balancing_loss" || tensor == "router.balancing_ratio") return true;
  if (tensor.starts_with("scalar.")) return tensor != "scalar.eval.loss_mean";
  return tensor.starts_with("router.") &&
         (tensor.ends_with(".sampling_loss") || tensor.ends_with(".sampling_acc") ||
          tensor.ends_with(".sampling_topk_acc") || tensor.ends_with(".router_z_loss"));
}

}  // namespace fathom::cli::verify
