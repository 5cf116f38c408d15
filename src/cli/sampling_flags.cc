#include "cli/sampling_flags.h"

#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>

#include "cli/flag_checks.h"

namespace fathom::cli {

namespace {

// Every logit divided by more is the same number to a float, near enough.
constexpr double kMostTemperature = 1e6;

}  // namespace

void add_sampling_flags(CLI::App& app, kernels::SamplingParams& sampling, SamplingDefaults defaults) {
  const auto unless_given = [&](const char* meaning, double usual) {
    if (defaults == SamplingDefaults::kOfTask) return meaning + std::string(" (default: the task's)");
    char number[32];
    std::snprintf(number, sizeof number, "%g", usual);
    return meaning + std::string(" (default: the model's generation_config.json, else ") + number + ")";
  };
  app.add_option("--temperature", sampling.temperature,
                 unless_given("0 takes the most probable token", sampling.temperature))
      ->check(between(0, kMostTemperature));
  app.add_option("--top-k", sampling.top_k, unless_given("0: off", sampling.top_k))
      ->check(whole_number(0, std::numeric_limits<int32_t>::max()));
  app.add_option("--top-p", sampling.top_p, unless_given("1: off", sampling.top_p))->check(between(0, 1));
  app.add_option("--min-p", sampling.min_p, unless_given("0: off", sampling.min_p))->check(between(0, 1));
  CLI::Option* seed =
      app.add_option("--seed", sampling.seed, "the same seed gives the same text")->check(seed_number());
  if (defaults == SamplingDefaults::kOfModel) seed->capture_default_str();
}

void take_given_sampling(const CLI::App& app, const kernels::SamplingParams& given,
                         kernels::SamplingParams& sampling) {
  if (app.count("--temperature") > 0) sampling.temperature = given.temperature;
  if (app.count("--top-k") > 0) sampling.top_k = given.top_k;
  if (app.count("--top-p") > 0) sampling.top_p = given.top_p;
  if (app.count("--min-p") > 0) sampling.min_p = given.min_p;
  if (app.count("--seed") > 0) sampling.seed = given.seed;
}

Status take_recommended_sampling(const CLI::App& app, const nlohmann::json& config,
                                 kernels::SamplingParams& sampling) {
  if (!config.is_object()) return {};
  const auto take = [&](const char* flag, const char* key, double most, auto& value) -> Status {
    if (app.count(flag) > 0 || !config.contains(key) || config[key].is_null()) return {};
    const nlohmann::json& stated = config[key];
    if (!stated.is_number() ||
        !(stated.template get<double>() >= 0 && stated.template get<double>() <= most)) {
      return invalid("generation_config.json: " + std::string(key) + " is " + stated.dump() +
                     ", expected a number from 0 to " + nlohmann::json(most).dump());
    }
    value = stated.template get<std::remove_reference_t<decltype(value)>>();
    return {};
  };
  FATHOM_TRY(take("--temperature", "temperature", kMostTemperature, sampling.temperature));
  if (app.count("--top-k") == 0 && config.value("top_k", nlohmann::json()) == -1) {
    sampling.top_k = 0;  // other engines' word for off
  } else {
    FATHOM_TRY(take("--top-k", "top_k", std::numeric_limits<int32_t>::max(), sampling.top_k));
  }
  FATHOM_TRY(take("--top-p", "top_p", 1, sampling.top_p));
  FATHOM_TRY(take("--min-p", "min_p", 1, sampling.min_p));
  if (app.count("--temperature") == 0 && config.value("do_sample", nlohmann::json()) == false)
    sampling.temperature = 0;
  return {};
}

Status take_recommended_length(const CLI::App& app, const nlohmann::json& config, int64_t& max_tokens) {
  if (!config.is_object() || app.count("--max-tokens") > 0) return {};
  const nlohmann::json stated = config.value("max_new_tokens", nlohmann::json());
  if (stated.is_null()) return {};
  if (!stated.is_number_integer() || stated < 1 || stated > INT64_MAX) {
    return invalid("generation_config.json: max_new_tokens is " + stated.dump() +
                   ", expected a whole number of at least 1");
  }
  max_tokens = stated.get<int64_t>();
  return {};
}

}  // namespace fathom::cli
