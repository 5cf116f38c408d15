#include "plan/describe.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "plan/naming.h"
#include "plan/plan_figures.h"

namespace fathom {

namespace {

template <class... Args>
std::string format(const char* pattern, Args... args) {
  const int length = std::snprintf(nullptr, 0, pattern, args...);
  std::string out(static_cast<size_t>(length) + 1, '\0');
  std::snprintf(out.data(), out.size(), pattern, args...);
  out.pop_back();
  return out;
}

// 1234567 -> "1,234,567".
std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  for (auto at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), 1, ',');
  return digits;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

std::string layer_line(const LayerFigures& l) {
  const std::string window = l.window > 0 ? std::to_string(l.window) : "-";
  const std::string times = l.repeat > 1 ? format("x%d%s", l.repeat, l.routed ? " routed" : "") : "";
  const std::string relaxation = l.relaxation.empty() ? "" : "  " + l.relaxation;
  return format("%5d  %-28s %-9s %6s  %-12s %-8s %15s %12.3f %10s %12s%s\n", l.index, l.kind.c_str(),
                times.c_str(), window.c_str(), l.writes.empty() ? "-" : l.writes.c_str(),
                l.reads.empty() ? "-" : l.reads.c_str(), grouped(l.parameters).c_str(), l.flops / 1e6,
                grouped(l.state.per_token).c_str(), grouped(l.state.per_sequence).c_str(),
                relaxation.c_str());
}

std::string parameter_lines(const ParameterCount& p) {
  std::string out = format("parameters        %15s\n", grouped(p.unique).c_str());
  const auto line = [&](const char* name, int64_t value) {
    if (value != 0) out += format("  %-16s%15s\n", name, grouped(value).c_str());
  };
  line("embedding", p.embedding);
  line("head", p.head);
  line("router", p.router);
  line("relaxation", p.relaxation);
  line("final norm", p.final_norm);
  line("non-embedding", p.non_embedding());
  if (p.total != p.unique) line("as if unrolled", p.total);
  return out;
}

std::string state_lines(const PlanFigures& figures) {
  const StateBytes& state = figures.state;
  std::string out = format("state per token   %15s B\n", grouped(state.per_token).c_str());
  if (state.per_token_most != state.per_token)
    out += format("  at every depth  %15s B\n", grouped(state.per_token_most).c_str());
  out += format("state per sequence%15s B\n", grouped(state.per_sequence).c_str());
  bool recurs = false, keeps = false;
  for (const LayerFigures& layer : figures.layers) {
    if (layer.repeat == 1) continue;
    recurs = true;
    keeps |= layer.state.per_token + layer.state.per_sequence > 0;
  }
  if (recurs && !keeps) out += "state of recursions  none: their layers write no slot\n";
  return out;
}

std::string flop_lines(const PlanFigures& figures) {
  const FlopCount& f = figures.flops;
  std::string out = format("MFLOP per token   %15.3f\n", f.total() / 1e6);
  const auto line = [&](const char* name, double value) {
    if (value != 0) out += format("  %-16s%15.3f\n", name, value / 1e6);
  };
  line("linear", f.linear);
  line("attention", f.attention);
  line("scan", f.scan);
  line("router", f.router);
  line("head", f.head);
  if (figures.paper_flops) line("paper's formula", *figures.paper_flops);
  return out;
}

}  // namespace

std::string describe(const ModelPlan& plan, int64_t context, DType kv_type) {
  const PlanFigures figures = figures_of(plan, context, kv_type);
  std::string out = format(
      "%s: %lld layers (%zu stored), width %lld, vocabulary %lld; context %lld, keys and values %s\n\n",
      plan.spec.architecture.c_str(), static_cast<long long>(plan.num_unrolled_layers()),
      figures.layers.size(), static_cast<long long>(plan.dims.hidden_size),
      static_cast<long long>(plan.dims.vocab_size), static_cast<long long>(context),
      std::string(name_of(kv_type)).c_str());
  out += format("%5s  %-28s %-9s %6s  %-12s %-8s %15s %12s %10s %12s\n", "layer", "kind", "depths", "window",
                "writes", "reads", "parameters", "MFLOP/token", "B/token", "B/sequence");
  for (const LayerFigures& layer : figures.layers) out += layer_line(layer);
  out += '\n';
  out += parameter_lines(figures.parameters);
  out += flop_lines(figures);
  out += state_lines(figures);
  if (figures.shortcut) {
    out += format("prefill shortcut   from layer %d: %.3f MFLOP per prompt token before the last\n",
                  *figures.shortcut, figures.shortcut_flops / 1e6);
  } else {
    out += "prefill shortcut   none: the last layer keeps state\n";
  }
  return out;
}

std::string describe_json(const ModelPlan& plan, int64_t context, DType kv_type) {
  const PlanFigures figures = figures_of(plan, context, kv_type);
  nlohmann::ordered_json out;
  out["architecture"] = plan.spec.architecture;
  out["context"] = context;
  out["kv_type"] = name_of(kv_type);
  out["unrolled_layers"] = plan.num_unrolled_layers();
  for (const LayerFigures& l : figures.layers) {
    out["layers"].push_back({{"index", l.index},
                             {"kind", l.kind},
                             {"relaxation", l.relaxation},
                             {"depths", l.repeat},
                             {"routed", l.routed},
                             {"window", l.window},
                             {"writes", l.writes},
                             {"reads", l.reads},
                             {"parameters", l.parameters},
                             {"flops_per_token", l.flops},
                             {"state_bytes_per_token", l.state.per_token},
                             {"state_bytes_per_sequence", l.state.per_sequence}});
  }
  const ParameterCount& p = figures.parameters;
  out["parameters"] = {{"unique", p.unique},         {"unrolled", p.total},
                       {"embedding", p.embedding},   {"head", p.head},
                       {"router", p.router},         {"relaxation", p.relaxation},
                       {"final_norm", p.final_norm}, {"non_embedding", p.non_embedding()}};
  const FlopCount& f = figures.flops;
  out["flops_per_token"] = {{"total", f.total()}, {"linear", f.linear}, {"attention", f.attention},
                            {"scan", f.scan},     {"router", f.router}, {"head", f.head}};
  if (figures.paper_flops) out["flops_per_token"]["paper"] = *figures.paper_flops;
  out["state_bytes"] = {{"per_token", figures.state.per_token},
                        {"per_token_most", figures.state.per_token_most},
                        {"per_sequence", figures.state.per_sequence}};
  if (figures.shortcut) {
    out["prefill_shortcut"] = {{"layer", *figures.shortcut}, {"flops_per_token", figures.shortcut_flops}};
  } else {
    out["prefill_shortcut"] = nullptr;
  }
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

namespace {

std::string init_text(const Init& init) {
  switch (init.kind) {
    case InitKind::kNormal:
      return format("normal(%g)", init.a);
    case InitKind::kUniform:
      return format("uniform(%g)", init.a);
    case InitKind::kConstant:
      return format("%g", init.a);
    case InitKind::kLogRange:
      return "log(1, 2, ...)";
    case InitKind::kLogUniform:
      return format("log of [%g, %g]", init.a, init.b);
    case InitKind::kRowNorms:
      return "norms of the rows";
    case InitKind::kInverseSoftplusDt:
      break;
  }
  return format("inverse softplus of [%g, %g]", init.a, init.b);
}

}  // namespace

std::string describe_params(const ModelPlan& plan) {
  std::string out;
  for (const Param& param : plan.params) {
    out += format("%-36s %-18s %13s  %s\n", param.name.c_str(), shape_text(param.shape).c_str(),
                  grouped(elements_of(param)).c_str(), init_text(param.init).c_str());
  }
  return out;
}

std::string describe_tensors(const ModelPlan& plan) {
  std::string out;
  for (const FileTensor& tensor : checkpoint_tensors(plan, naming_of(plan))) {
    std::string parts;
    int32_t last = -1;
    for (const TensorPiece& piece : tensor.pieces) {
      // The groups of an interleaved tensor repeat the same three parameters.
      if (piece.param <= last) break;
      parts += (parts.empty() ? "" : " + ") + plan.params[static_cast<size_t>(piece.param)].name;
      last = piece.param;
    }
    out += format("%-56s %-18s %s", tensor.name.c_str(), shape_text(tensor.shape).c_str(), parts.c_str());
    if (!tensor.aliases.empty()) {
      out +=
          format(" (also %s%s)", tensor.aliases[0].c_str(),
                 tensor.aliases.size() > 1 ? format(" and %zu more", tensor.aliases.size() - 1).c_str() : "");
    }
    out += "\n";
  }
  return out;
}

std::string describe_budgets(const FlopBudget& budget, const std::vector<BudgetRow>& rows) {
  size_t width = 5;
  for (const BudgetRow& row : rows) width = std::max(width, row.name.size());
  const int name_width = static_cast<int>(width);
  std::string out = format("%g operations of forward passes, rows of %" PRId64 " tokens, %s tokens a step\n",
                           budget.flops, budget.sequence_length, grouped(budget.batch_tokens).c_str());
  out += format("%-*s %15s %12s %9s %8s %8s %19s\n", name_width, "model", "non-embedding", "MFLOP/token",
                "steps", "warm-up", "decay", "tokens");
  for (const BudgetRow& row : rows) {
    out +=
        format("%-*s %15s %12.3f %9" PRId64 " %8" PRId64 " %8" PRId64 " %19s\n", name_width, row.name.c_str(),
               grouped(row.parameters.non_embedding()).c_str(), row.run.flops_per_token / 1e6, row.run.steps,
               row.run.warmup_steps, row.run.decay_steps, grouped(row.run.tokens).c_str());
  }
  return out;
}

std::string describe_budgets_json(const FlopBudget& budget, const std::vector<BudgetRow>& rows) {
  nlohmann::ordered_json out;
  out["flops"] = budget.flops;
  out["smallest_flops"] = budget.smallest;
  out["sequence_length"] = budget.sequence_length;
  out["batch_tokens"] = budget.batch_tokens;
  out["models"] = nlohmann::ordered_json::array();
  for (const BudgetRow& row : rows) {
    out["models"].push_back({{"name", row.name},
                             {"parameters", row.parameters.unique},
                             {"non_embedding", row.parameters.non_embedding()},
                             {"flops_per_token", row.run.flops_per_token},
                             {"exact_steps", row.run.exact_steps},
                             {"steps", row.run.steps},
                             {"warmup_steps", row.run.warmup_steps},
                             {"decay_steps", row.run.decay_steps},
                             {"tokens", row.run.tokens}});
  }
  return out.dump(2) + "\n";
}

}  // namespace fathom
