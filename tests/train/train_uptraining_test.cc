// A recursive model that goes on from a trained vanilla one.
#include <gtest/gtest.h>

#include "small_run.h"

namespace fathom::testing {
namespace {

class TrainUptraining : public ::testing::Test {
 protected:
  TrainUptraining() : small_("train-uptraining") {}
  // Replaces the recipe's model by one that shares the four layers of the vanilla one.
  void share_layers(const std::string& more) const {
    std::ofstream(small_.path("model.toml"), std::ios::app) << "sharing = \"cycle\"\nnum_recursion = 2\n"
                                                            << more;
  }
  double first_loss(const std::string& out) const {
    for (const nlohmann::json& entry : small_.metrics(out)) {
      if (entry["kind"] == "step") return entry["loss"].get<double>();
    }
    return 0;
  }
  SmallRun small_;
};

TEST_F(TrainUptraining, StartsFromTheLayersOfTheVanillaModel) {
  const Output vanilla = small_.train("vanilla");
  ASSERT_EQ(vanilla.code, 0) << vanilla.text;
  const std::string init = "--init=" + small_.path("vanilla/checkpoint-12");

  share_layers("");
  const Output ruleless = small_.train("ruleless", {init});
  EXPECT_EQ(ruleless.code, 1);
  EXPECT_NE(ruleless.text.find("initialization: absent, but "), std::string::npos) << ruleless.text;

  std::ofstream(small_.path("model.toml"), std::ios::app) << "initialization = \"stepwise\"\n";
  const Output fresh = small_.train("fresh"), uptrained = small_.train("uptrained", {init});
  ASSERT_EQ(fresh.code, 0) << fresh.text;
  ASSERT_EQ(uptrained.code, 0) << uptrained.text;
  EXPECT_LT(first_loss("uptrained"), first_loss("fresh") - 0.1);

  // The checkpoint is a recursive model's: another run starts from it as it is.
  const Output again = small_.train("again", {"--init=" + small_.path("uptrained/checkpoint-12")});
  ASSERT_EQ(again.code, 0) << again.text;
  EXPECT_LT(first_loss("again"), first_loss("uptrained"));
}

}  // namespace
}  // namespace fathom::testing
