// A trained model on validation text: what the published code saw there at the end of training, and before
// it.
#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <optional>

#include "base/json.h"
#include "cli/verify/model_case.h"
#include "data/token_file.h"
#include "weights/checkpoint.h"

namespace fathom::cli::verify {

namespace {

// Rows of text, one behind the other; each is a sequence of its own.
struct ValidationRows {
  TokenFile file;
  int64_t rows = 0;
  int64_t predictions = 0;  // of a row
  int64_t inputs = 0;       // of a row, and where the next one begins

  // Tokens of a row, the label of its last prediction included.
  std::vector<int32_t> row(int64_t index) const {
    std::vector<int32_t> tokens(static_cast<size_t>(predictions + 1));
    file.read(index * inputs, tokens);
    return tokens;
  }
};

// The recursion family feeds a row whole and predicts what lies in it; the hybrids predict behind every
// input.
Result<ValidationRows> validation_rows(const ModelCase& c, const std::string& path,
                                       const RecordedTensor& nll) {
  FATHOM_ASSIGN(TokenFile file, TokenFile::open_any(path, c.plan.dims.vocab_size, std::nullopt));
  ValidationRows rows{.file = std::move(file), .rows = nll.extent(0), .predictions = nll.extent(1)};
  rows.inputs = rows.predictions + (c.family == Family::kRecursions ? 1 : 0);
  const int64_t needed = (rows.rows - 1) * rows.inputs + rows.predictions + 1;
  if (nll.shape.size() != 2 || rows.rows < 1 || rows.predictions < 1 || rows.file.tokens() < needed) {
    return invalid(c.path + "/probe.safetensors: val.nll is no list of rows that " + path + " (" +
                   std::to_string(rows.file.tokens()) + " tokens) has");
  }
  return rows;
}

// A recorded tensor of the first rows of text, or of the first positions of the first one.
struct Watch {
  const RecordedTensor* recorded = nullptr;
  std::string traced;  // what the engine calls it
  int64_t rows = 0;
  std::vector<float> got = {};
};

// "val.router.1.selected_rows01": of which rows, and of what. None for names of no such form.
std::optional<Watch> watch_of(const std::string& name, const RecordedTensor& recorded) {
  constexpr std::string_view kPrefix = "val.";
  const struct {
    std::string_view suffix;
    int64_t rows;
  } forms[] = {{"_row0_first64", 1}, {"_rows01", 2}, {"_all_rows", recorded.extent(0)}};
  for (const auto& [suffix, rows] : forms) {
    if (!name.starts_with(kPrefix) || !name.ends_with(suffix)) continue;
    std::string traced = name.substr(kPrefix.size(), name.size() - kPrefix.size() - suffix.size());
    if (traced == "gmu_memory") traced = "memory";
    if (const std::string selected = "selected"; traced.ends_with(selected))
      traced.replace(traced.size() - selected.size(), selected.size(), "kept");
    return Watch{.recorded = &recorded, .traced = std::move(traced), .rows = rows};
  }
  return std::nullopt;
}

Kind kind_of(const Watch& watch) {
  if (!watch.recorded->ids.empty()) return Kind::kSelections;
  return watch.traced == "memory" ? Kind::kStates : Kind::kLogits;
}

double mean(const std::vector<float>& values) {
  double total = 0;
  for (const float value : values) total += value;
  return total / static_cast<double>(values.size());
}

// How near the routers of a row came to deciding otherwise, by what the trace calls their tensors: under
// token choice the smallest distance between the best two scores of a token, under expert choice that
// between the last logit chosen and the first one not. Infinity without routers.
double routing_margin(const std::map<std::string, std::vector<float>>& routers, int64_t depths) {
  double margin = std::numeric_limits<double>::infinity();
  if (const auto scores = routers.find("router.scores_for_argmax"); scores != routers.end() && depths > 1) {
    for (auto token = scores->second.begin(); token != scores->second.end(); token += depths) {
      std::vector<float> best(token, token + depths);
      std::ranges::nth_element(best, best.begin() + 1, std::greater());
      margin = std::min(margin, double{best[0]} - best[1]);
    }
  }
  for (int64_t r = 0; routers.contains("router." + std::to_string(r) + ".kept"); ++r) {
    const std::string name = "router." + std::to_string(r);
    const std::vector<float>&logits = routers.at(name + ".logits"),
          &candidates = routers.at(name + ".candidates"), &kept = routers.at(name + ".kept");
    double chosen = std::numeric_limits<double>::infinity(), left = -chosen;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (std::ranges::binary_search(kept, candidates[i])) {
        chosen = std::min(chosen, double{logits[i]});
      } else {
        left = std::max(left, double{logits[i]});
      }
    }
    margin = std::min(margin, chosen - left);
  }
  return margin;
}

// Two right programs may route a row differently whose margin is less.
constexpr double kSureMargin = 1e-4;

struct Seen {
  std::vector<float> losses;  // [rows, predictions]
  std::vector<bool> sure;     // [rows] no router of the row is closer than kSureMargin
};

// Runs `weights` over the rows, routed as published, and fills what is watched.
Seen run_rows(const ModelCase& c, const Weights& weights, const ValidationRows& rows,
              std::map<std::string, Watch>& watches, Parallel& parallel) {
  Executor executor(c.plan, weights, rows.inputs, rows.inputs, parallel);
  const int64_t vocab = c.plan.dims.vocab_size;
  int64_t depths = 0;
  for (const Segment& segment : c.plan.segments) depths = segment.router ? segment.repeat : depths;
  Seen seen;
  for (int64_t index = 0; index < rows.rows; ++index) {
    const auto note = [&](std::string_view name, const float* data, int64_t count) {
      for (auto& [tensor, watch] : watches) {
        if (watch.traced != name || index >= watch.rows) continue;
        // The first positions of a row are recorded without those behind them.
        const int64_t part = watch.recorded->elements() / watch.rows;
        watch.got.insert(watch.got.end(), data, data + std::min(count, part));
      }
    };
    std::map<std::string, std::vector<float>> routers;
    executor.set_trace([&](std::string_view name, const float* data, int64_t count, int64_t columns) {
      note(name, data, count * columns);
      if (name.starts_with("router.")) routers[std::string(name)].assign(data, data + count * columns);
    });
    const std::vector<int32_t> tokens = rows.row(index);
    SequenceState state = executor.make_state(DType::kF32);
    ForwardOptions options;
    options.routing = RoutingMode::kTopK;
    options.logits = Logits::kAll;
    const ForwardResult forward =
        executor.forward(state, std::span(tokens).first(static_cast<size_t>(rows.inputs)), options);
    note("logits", forward.logits, rows.inputs * vocab);
    const std::vector<float> passes(forward.depths.begin(), forward.depths.end());
    note("depth", passes.data(), static_cast<int64_t>(passes.size()));
    for (int64_t t = 0; t < rows.predictions; ++t) {
      const std::span logits(forward.logits + t * vocab, static_cast<size_t>(vocab));
      seen.losses.push_back(
          static_cast<float>(negative_log_likelihood(logits, tokens[static_cast<size_t>(t + 1)])));
    }
    seen.sure.push_back(routing_margin(routers, depths) >= kSureMargin);
  }
  return seen;
}

// The values of the rows that are sure, of those that `values` is about.
std::vector<float> of_sure_rows(const std::vector<float>& values, int64_t rows, const Seen& seen) {
  const size_t size = values.size() / static_cast<size_t>(rows);
  std::vector<float> out;
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(row * size);
    if (seen.sure[row]) out.insert(out.end(), first, first + static_cast<std::ptrdiff_t>(size));
  }
  return out;
}

// The loss before training: entry 0 of the validation points of curve.json.
Status verify_start(const ModelCase& c, const ValidationRows& rows, Report& report, Parallel& parallel) {
  const std::string start = c.path + "/init.safetensors", curve = c.path + "/curve.json";
  if (!std::filesystem::exists(start) || !std::filesystem::exists(curve)) return {};
  FATHOM_ASSIGN(const nlohmann::json record, read_json_file(curve));
  const auto updates = "/validation/after_updates/0"_json_pointer, nll = "/validation/nll/0"_json_pointer;
  if (!record.contains(updates) || record[updates] != 0 || !record.contains(nll) || !record[nll].is_number())
    return {};
  FATHOM_ASSIGN(WeightFiles opened, WeightFiles::open(start));
  const auto files = std::make_shared<const WeightFiles>(std::move(opened));
  FATHOM_ASSIGN(const Weights weights, load_weights(c.plan, c.scheme, files, DType::kF32));
  std::map<std::string, Watch> none;
  report.compare("engine", "mean loss before training", Kind::kLosses,
                 mean(run_rows(c, weights, rows, none, parallel).losses), record[nll].get<double>());
  return {};
}

}  // namespace

Status verify_probe(const ModelCase& c, Report& report, Parallel& parallel) {
  const std::string path = c.path + "/probe.safetensors", text = c.path + "/../data/val.bin";
  if (!std::filesystem::exists(path)) return {};
  if (!std::filesystem::exists(text)) {
    report.note("probe.safetensors is not compared: its text, ../data/val.bin beside the case, is not there");
    return {};
  }
  FATHOM_ASSIGN(RecordedTensors probe, RecordedTensors::read(path));
  FATHOM_ASSIGN(const RecordedTensor* nll, probe.require("val.nll"));
  FATHOM_ASSIGN(const ValidationRows rows, validation_rows(c, text, *nll));

  std::map<std::string, Watch> watches;
  for (const auto& [name, recorded] : probe.all()) {
    if (name == "val.nll") continue;
    std::optional<Watch> watch = watch_of(name, recorded);
    if (!watch || watch->rows < 1 || watch->rows > rows.rows || recorded.elements() % watch->rows != 0) {
      report.note("probe.safetensors: nothing here answers for tensor " + name);
      continue;
    }
    watches.emplace(name, std::move(*watch));
  }
  FATHOM_ASSIGN(const Weights weights, load_weights(c.plan, c.scheme, c.weights, DType::kF32));
  const Seen seen = run_rows(c, weights, rows, watches, parallel);
  if (const auto unsure = std::ranges::count(seen.sure, false); unsure > 0) {
    report.note("probe.safetensors: " + std::to_string(unsure) + " of " + std::to_string(rows.rows) +
                " rows are not compared, a router there is within 1e-4 of another decision");
    if (unsure == rows.rows) return {};
  }

  // The probe was recorded on another device than the rest of the case: twice the distance is allowed.
  Limits limits = c.limits;
  limits.logits *= 2;
  limits.states *= 2;
  Report found(c.name, limits);
  for (auto& [name, watch] : watches) {
    const RecordedTensor& recorded = *watch.recorded;
    const std::vector<float> expected =
        recorded.ids.empty() ? recorded.values : std::vector<float>(recorded.ids.begin(), recorded.ids.end());
    found.compare("engine", "probe " + name, kind_of(watch),
                  watch.got.size() == expected.size() ? of_sure_rows(watch.got, watch.rows, seen) : watch.got,
                  of_sure_rows(expected, watch.rows, seen));
  }
  const std::vector<float> got = of_sure_rows(seen.losses, rows.rows, seen),
                           expected = of_sure_rows(nll->values, rows.rows, seen);
  found.compare("engine", "probe val.nll", Kind::kLogits, got, expected);
  found.compare("engine", "probe mean of val.nll", Kind::kLosses, mean(got), mean(expected));
  for (const Finding& finding : found.findings()) report.add(finding);
  return verify_start(c, rows, report, parallel);
}

}  // namespace fathom::cli::verify
