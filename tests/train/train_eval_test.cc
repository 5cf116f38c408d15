// `fathom eval --perplexity` on a finished run gives what the run's own validation gave, routed either way.
#include <gtest/gtest.h>

#include "small_run.h"

namespace fathom::testing {
namespace {

class TrainEval : public ::testing::TestWithParam<const char*> {};

TEST_P(TrainEval, PackedRowsAreScoredAsValidationScoresThem) {
  const SmallRun small("fathom-train-eval", GetParam());
  const struct {
    const char* out;
    std::vector<std::string> recipe;
    const char* flags;
  } cases[] = {
      {"rows", {}, ""},
      {"documents",
       {"--data.label_inside_row=true", "--data.keep_documents_apart=true", "--data.document_separator=. "},
       "--label-inside-row --keep-documents-apart --document-separator '. '"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.out);
    const Output trained = small.train(c.out, c.recipe);
    ASSERT_EQ(trained.code, 0) << trained.text;
    const nlohmann::json validation = [&] {
      nlohmann::json last;
      for (const nlohmann::json& entry : small.metrics(c.out))
        if (entry["kind"] == "evaluation") last = entry;
      return last;
    }();
    const bool is_routed = validation["mean_depth"] > 0;
    const std::vector<std::string> routings =
        is_routed ? std::vector<std::string>{"topk", "threshold"} : std::vector<std::string>{""};
    for (const std::string& routing : routings) {
      const std::string json = small.path("eval.json");
      const Output output =
          run(std::string(FATHOM_BIN_DIR) + "/fathom eval " + small.path(c.out) + " --perplexity " +
              small.path("text.txt") + " --sequence-length 32 -L 8 -t 1 " + c.flags + " --output " + json +
              (routing.empty() ? "" : " --routing " + routing));
      ASSERT_EQ(output.code, 0) << output.text;
      std::ifstream file(json);
      const nlohmann::json result = nlohmann::json::parse(file);
      EXPECT_EQ(result["perplexity"]["predictions"], validation["predictions"]);
      const double expected = validation[routing == "threshold" ? "nll_threshold" : "nll"];
      EXPECT_NEAR(result["perplexity"]["nll"].get<double>() / expected, 1, 1e-5) << routing;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TrainEval, ::testing::Values("llama", "mor-middle_cycle-nr3", "sambay"),
                         [](const auto& family) {
                           std::string name = family.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace fathom::testing
