// fathom-train bench: steps of training on random tokens, their speed against the product peak of the same
// minutes, and where the time goes.
#include <sys/resource.h>

#include <algorithm>
#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/isa.h"
#include "cli/flag_checks.h"
#include "cli/threads_flag.h"
#include "cli/train_commands.h"
#include "plan/spec_io.h"
#include "train/op_profile.h"
#include "train/step_bench.h"

namespace fathom::cli {

namespace {

using train::OpPass;
using train::OpTime;

const char* name_of(OpPass pass) {
  switch (pass) {
    case OpPass::kForward:
      return "forward";
    case OpPass::kBackward:
      return "backward";
    case OpPass::kUpdate:
      return "update";
  }
  return "?";
}

double peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

struct Measured {
  std::vector<double> seconds;  // by step
  double product_peak = 0;      // FLOP/s
  std::map<std::pair<std::string, OpPass>, OpTime> profile;
};

using PrecisionWord = std::pair<const char*, train::Precision>;

std::string word_of(train::Precision precision) {
  return std::ranges::find(train::kPrecisionWords, precision, &PrecisionWord::second)->first;
}

std::vector<std::string> words_of_precision() {
  std::vector<std::string> words;
  for (const PrecisionWord& word : train::kPrecisionWords) words.emplace_back(word.first);
  return words;
}

Measured measure(train::StepBench& bench, int64_t steps, bool profiled, train::Precision precision) {
  Measured measured;
  double total = 0;
  for (int64_t i = 0; i < steps; ++i) {
    measured.product_peak = std::max(measured.product_peak, train::product_flops(precision));
    std::optional<train::OpProfile> profile;
    if (profiled) profile.emplace();
    measured.seconds.push_back(bench.step());
    total += measured.seconds.back();
    if (!profile) continue;
    for (const auto& [key, time] : profile->times()) {
      measured.profile[key].calls += time.calls;
      measured.profile[key].seconds += time.seconds;
    }
  }
  if (!profiled) return measured;
  for (const auto& [key, time] : measured.profile) total -= time.seconds;
  measured.profile[{"outside of ops", OpPass::kUpdate}] = {steps, total};
  return measured;
}

nlohmann::ordered_json to_json(const train::StepBench& bench, const train::StepBenchOptions& options,
                               const Measured& measured) {
  const auto tokens = static_cast<double>(bench.tokens()),
             steps = static_cast<double>(measured.seconds.size());
  const double step = median(measured.seconds), flops = bench.flops_per_token() * tokens / step;
  nlohmann::ordered_json json = {
      {"processor", processor_name()},
      {"threads", bench.threads()},
      {"precision", word_of(options.precision)},
      {"parameters", bench.parameters()},
      {"rows", options.rows},
      {"length", options.length},
      {"steps", measured.seconds.size()},
      {"step_seconds", step},
      {"step_seconds_least", std::ranges::min(measured.seconds)},
      {"step_seconds_most", std::ranges::max(measured.seconds)},
      {"tokens_per_second", tokens / step},
      {"gflop_per_token", bench.flops_per_token() * 1e-9},
      {"gflop_per_second", flops * 1e-9},
      {"product_peak_gflop_per_second", measured.product_peak * 1e-9},
      {"share_of_peak", flops / measured.product_peak},
      {"memory_estimate_bytes", bench.memory_estimate()},
      {"peak_resident_bytes", peak_resident_bytes()},
  };
  for (const auto& [key, time] : measured.profile) {
    json["profile"].push_back({{"op", key.first},
                               {"pass", name_of(key.second)},
                               {"calls", static_cast<double>(time.calls) / steps},
                               {"seconds", time.seconds / steps}});
  }
  return json;
}

// For bench/peers: a line "N" on standard input makes N steps, whose seconds are answered as a JSON list.
void serve(train::StepBench& bench) {
  std::cout << nlohmann::json{{"parameters", bench.parameters()}}.dump() << std::endl;
  int64_t count = 0;
  while (std::cin >> count) {
    std::vector<double> seconds;
    for (int64_t i = 0; i < count; ++i) seconds.push_back(bench.step());
    std::cout << nlohmann::json(seconds).dump() << std::endl;
  }
}

void print(const nlohmann::ordered_json& json, std::ostream& out) {
  const auto number = [&](const char* key) { return json[key].get<double>(); };
  out << std::fixed << json["processor"].get<std::string>() << ", " << json["threads"] << " threads, "
      << json["precision"].get<std::string>() << ", " << json["rows"] << " x " << json["length"]
      << " tokens a step\n"
      << std::setprecision(3) << "step      " << number("step_seconds") << " s ("
      << number("step_seconds_least") << "-" << number("step_seconds_most") << ", " << json["steps"]
      << " steps)\n"
      << std::setprecision(0) << "speed     " << number("tokens_per_second") << " tokens/s, "
      << number("gflop_per_second") << " GFLOP/s at " << std::setprecision(3) << number("gflop_per_token")
      << " GFLOP a token\n"
      << std::setprecision(0) << "peak      " << number("product_peak_gflop_per_second")
      << " GFLOP/s (LibTorch's 2048 x 2048 x 2048 product between the steps); reached "
      << std::setprecision(1) << 100 * number("share_of_peak") << " %\n"
      << std::setprecision(2) << "memory    " << number("peak_resident_bytes") * 1e-9
      << " GB resident at most, " << number("memory_estimate_bytes") * 1e-9 << " GB estimated\n";
  if (!json.contains("profile")) return;
  std::vector<nlohmann::ordered_json> entries = json["profile"];
  std::ranges::stable_sort(entries, [](const auto& a, const auto& b) {
    return a["seconds"].template get<double>() > b["seconds"].template get<double>();
  });
  double total = 0;
  for (const auto& entry : entries) total += entry["seconds"].get<double>();
  out << "\nop                  pass       calls a step   ms a step   share\n";
  for (const auto& entry : entries) {
    const double seconds = entry["seconds"].get<double>();
    out << std::left << std::setw(20) << entry["op"].get<std::string>() << std::setw(10)
        << entry["pass"].get<std::string>() << std::right << std::setprecision(0) << std::setw(13)
        << entry["calls"].get<double>() << std::setprecision(1) << std::setw(12) << seconds * 1e3
        << std::setw(7) << 100 * seconds / total << " %\n";
  }
}

}  // namespace

Action declare_train_bench(CLI::App& app) {
  constexpr int64_t kMost = int64_t{1} << 20;  // of what is multiplied
  struct Flags {
    std::string spec, precision = "bf16";
    train::StepBenchOptions options;
    int64_t steps = 5, warmup = 2;
    bool profile = false, json = false, on_request = false;
  };
  auto flags = std::make_shared<Flags>();
  app.add_option("SPEC", flags->spec, "the model: a TOML file or a config.json")->required();
  app.add_option("--rows", flags->options.rows, "sequences a step")
      ->check(whole_number(1, kMost))
      ->capture_default_str();
  app.add_option("--length", flags->options.length, "tokens of a sequence")
      ->check(whole_number(2, kMost))
      ->capture_default_str();
  app.add_option("--accumulation", flags->options.accumulation, "micro-batches that --rows is cut into")
      ->check(whole_number(1, kMost))
      ->capture_default_str();
  app.add_option("--steps", flags->steps, "timed steps")->check(whole_number(1))->capture_default_str();
  app.add_option("--warmup", flags->warmup, "steps before them")
      ->check(whole_number(0))
      ->capture_default_str();
  add_threads_flag(app, flags->options.threads);
  app.add_option("--precision", flags->precision, "of matrix products")
      ->check(CLI::IsMember(words_of_precision()))
      ->capture_default_str();
  app.add_flag("--profile", flags->profile, "time by op, which costs a little time itself");
  app.add_flag("--json", flags->json, "print JSON");
  app.add_flag(
      "--on-request", flags->on_request,
      "after the warm-up, make N steps for every line \"N\" of standard input and print their seconds");
  return [flags]() -> Result<int> {
    FATHOM_ASSIGN(const ModelSpec spec, load_spec(flags->spec));
    flags->options.precision =
        std::ranges::find(train::kPrecisionWords, flags->precision, &PrecisionWord::first)->second;
    FATHOM_ASSIGN(train::StepBench bench, train::StepBench::create(spec, flags->options));
    for (int64_t i = 0; i < flags->warmup; ++i) bench.step();
    if (flags->on_request) {
      serve(bench);
      return kExitOk;
    }
    const Measured measured = measure(bench, flags->steps, flags->profile, flags->options.precision);
    const nlohmann::ordered_json json = to_json(bench, flags->options, measured);
    if (flags->json) {
      std::cout << json.dump() << "\n";
    } else {
      print(json, std::cout);
    }
    return kExitOk;
  };
}

}  // namespace fathom::cli
