#include "cli/sampling_flags.h"

#include <string>

namespace fathom::cli {

void add_sampling_flags(CLI::App& app, kernels::SamplingParams& sampling) {
  app.add_option("--temperature", sampling.temperature, "0 takes the most probable token")
      ->check(at_least(0));
  app.add_option("--top-k", sampling.top_k, "0: off")->check(at_least(0));
  app.add_option("--top-p", sampling.top_p, "1: off")->check(CLI::Range(0.0, 1.0));
  app.add_option("--min-p", sampling.min_p, "0: off")->check(CLI::Range(0.0, 1.0));
  app.add_option("--seed", sampling.seed, "the same seed gives the same text")->check(at_least(0));
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
  constexpr double kMost = 1e6;
  FATHOM_TRY(take("--temperature", "temperature", kMost, sampling.temperature));
  FATHOM_TRY(take("--top-k", "top_k", kMost, sampling.top_k));
  FATHOM_TRY(take("--top-p", "top_p", 1, sampling.top_p));
  FATHOM_TRY(take("--min-p", "min_p", 1, sampling.min_p));
  if (app.count("--temperature") == 0 && config.value("do_sample", nlohmann::json()) == false)
    sampling.temperature = 0;
  return {};
}

}  // namespace fathom::cli
