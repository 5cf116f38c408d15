#include "plan/scaling_study.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>

namespace fathom {

namespace {

// Decoder-Hybrid-Decoder, appendix on scaling: the aspect ratio used, and the count of parameters
// (square * a^2 + linear * a) L^3. Depthwise parts of Gated DeltaNet are counted as Mamba's, as published.
struct StudyRow {
  std::string_view architecture;
  int64_t aspect;  // 0: only the count is defined
  double square, linear;
};
constexpr StudyRow kRows[] = {
    {"transformer", 128, 14.5, 0},     {"transformerls", 128, 14.5, 0}, {"samba", 122, 15, 160},
    {"swayoco", 130, 12, 288},         {"sambayoco", 126, 13.5, 208},   {"sambay", 124, 14.5, 144},
    {"sambayda", 124, 14.5, 144},      {"sambay2", 124, 14.5, 144},     {"sambayattn", 126, 13.5, 208},
    {"sambayattnall", 126, 13.5, 208}, {"sambaymlp", 120, 15.5, 144},   {"mambay", 120, 16, 64},
    {"mambay2", 120, 16, 64},          {"gdny", 120, 16, 64},           {"sgdny", 126, 16, 64},
    {"phi4flash", 0, 14.5, 144},
};
constexpr int64_t kHeadDim = 128, kBaseAspect = 128;
// The widest shape stays within the widths of a spec.
constexpr int64_t kMostLayers = 1024;

const StudyRow* find_row(std::string_view architecture) {
  const auto row = std::ranges::find(kRows, architecture, &StudyRow::architecture);
  return row == std::end(kRows) ? nullptr : row;
}

double count(const StudyRow& row, double aspect, double layers) {
  return (row.square * aspect * aspect + row.linear * aspect) * layers * layers * layers;
}

double base_over(const ModelSpec& spec) {
  return static_cast<double>(spec.mup_base_depth) / static_cast<double>(spec.num_hidden_layers);
}

}  // namespace

bool has_study_shape(std::string_view architecture) {
  const StudyRow* row = find_row(architecture);
  return row != nullptr && row->aspect > 0;
}

Status give_study_shape(ModelSpec& spec) {
  const int64_t layers = spec.num_hidden_layers;
  if (layers < 4 || layers > kMostLayers || layers % 4 != 0) {
    return invalid("num_hidden_layers: found " + std::to_string(layers) +
                   ", expected a multiple of 4 up to " + std::to_string(kMostLayers) +
                   " for the study's shape of " + spec.architecture + " (hidden_size is absent)");
  }
  spec.hidden_size = find_row(spec.architecture)->aspect * layers;
  spec.intermediate_size = 4 * spec.hidden_size;
  spec.num_attention_heads = layers;
  spec.num_key_value_heads = layers / 4;
  spec.head_dim = kHeadDim;
  return {};
}

Result<double> study_parameters(const ModelSpec& spec) {
  const StudyRow* row = find_row(spec.architecture);
  if (row == nullptr)
    return invalid("architecture: the study counts no parameters of \"" + spec.architecture + "\"");
  const auto layers = static_cast<double>(spec.num_hidden_layers);
  return count(*row, static_cast<double>(spec.hidden_size) / layers, layers);
}

Result<int64_t> study_train_tokens(const ModelSpec& spec) {
  FATHOM_ASSIGN(const double parameters, study_parameters(spec));
  const double base = count(kRows[0], kBaseAspect, StudyBase::kDepth);
  return static_cast<int64_t>(StudyBase::kTrainTokens * parameters / base);
}

int64_t study_batch_tokens(int64_t micro_batch_tokens) {
  return StudyBase::kBatchTokens / micro_batch_tokens * micro_batch_tokens;
}

double study_learning_rate(const ModelSpec& spec, double base, double base_batch, double batch) {
  const double rate = base * std::sqrt(batch / base_batch);
  return spec.parametrisation == Parametrisation::kMuPPlusPlus ? rate * std::sqrt(base_over(spec)) : rate;
}

double rate_multiplier(const ModelSpec& spec, const Param& param) {
  const bool scaled = spec.parametrisation != Parametrisation::kStandard && is_matrix(param.role);
  return scaled ? base_over(spec) : 1;
}

bool decays_by_parametrisation(const ModelSpec& spec, const Param& param) {
  return spec.parametrisation != Parametrisation::kMuPPlusPlus || is_matrix(param.role);
}

}  // namespace fathom
