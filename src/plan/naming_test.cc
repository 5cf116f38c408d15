#include "plan/naming.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "plan/spec_io.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using namespace testing_plan;

// Every row of every parameter stands in exactly one place of the file, and every file row comes from
// somewhere.
void expect_exact_cover(const ModelPlan& plan, NamingScheme scheme) {
  std::vector<std::vector<int>> covered;
  for (const Param& param : plan.params) covered.emplace_back(param.shape[0], 0);
  std::set<std::string> names;
  for (const FileTensor& tensor : checkpoint_tensors(plan, scheme)) {
    EXPECT_TRUE(names.insert(tensor.name).second) << tensor.name;
    for (const std::string& alias : tensor.aliases) EXPECT_TRUE(names.insert(alias).second) << alias;
    int64_t row_elements = 1;
    for (size_t d = 1; d < tensor.shape.size(); ++d) row_elements *= tensor.shape[d];
    int64_t next = 0;
    for (const TensorPiece& piece : tensor.pieces) {
      EXPECT_EQ(piece.file_row, next) << tensor.name;
      next += piece.rows;
      const Param& param = plan.params[static_cast<size_t>(piece.param)];
      int64_t elements = 1;
      for (size_t d = 1; d < param.shape.size(); ++d) elements *= param.shape[d];
      EXPECT_EQ(elements, row_elements) << tensor.name;
      for (int64_t r = 0; r < piece.rows; ++r)
        ++covered[static_cast<size_t>(piece.param)].at(static_cast<size_t>(piece.param_row + r));
    }
    EXPECT_EQ(next, tensor.shape[0]) << tensor.name;
  }
  for (size_t p = 0; p < covered.size(); ++p)
    EXPECT_THAT(covered[p], ::testing::Each(1)) << plan.params[p].name;
}

TEST(Naming, EveryParameterRowIsCoveredOnceInEveryPlan) {
  std::vector<ModelSpec> specs = {tiny()};
  for (Sharing sharing :
       {Sharing::kCycle, Sharing::kSequence, Sharing::kMiddleCycle, Sharing::kMiddleSequence}) {
    specs.push_back(tiny_recursive(sharing, 2));
    specs.push_back(specs.back());
    specs.back().share_norms = false;
  }
  for (RouterNetwork network : {RouterNetwork::kLinear, RouterNetwork::kMlp}) {
    specs.push_back(tiny_mor(Sharing::kMiddleCycle, 3));
    specs.back().router->network = network;
    specs.push_back(specs.back());
    specs.back().router->loss = RouterLoss::kAuxRouter;
    specs.push_back(specs.back());
    specs.back().share_attention = false;
    specs.push_back(tiny_mor(Sharing::kMiddleCycle, 2));
    specs.back().router = default_router(RouterKind::kTokenChoice);
    specs.back().router->network = network;
    specs.push_back(specs.back());
    specs.back().router->loss = RouterLoss::kLossFree;
  }
  for (RelaxationMethod method : {RelaxationMethod::kLora, RelaxationMethod::kDora,
                                  RelaxationMethod::kAdaptionPrompt, RelaxationMethod::kRecursionEncoding}) {
    specs.push_back(relaxed(tiny_recursive(Sharing::kMiddleSequence, 2), method));
    specs.push_back(relaxed(tiny_mor(Sharing::kMiddleCycle, 3), method));
    specs.push_back(specs.back());
    specs.back().share_attention = false;
  }
  for (const char* name :
       {"transformer", "transformerls", "samba", "swayoco", "sambayoco", "sambay", "sambayda", "mambay",
        "sambayattn", "sambayattnall", "sambaymlp", "phi4flash", "sambay2", "mambay2", "sgdny", "gdny"}) {
    specs.push_back(hybrid(name, 8));
    specs.push_back(specs.back());
    specs.back().tie_word_embeddings = false;
    specs.back().attention_bias = true;
  }
  for (const char* name : {"swayoco", "sambay", "sambayda", "sambayattnall", "sambay2", "gdny"}) {
    specs.push_back(hybrid(name, 12));
    specs.back().sharing = Sharing::kCycle;
    specs.back().num_recursion = 2;
    specs.push_back(specs.back());
    specs.back().share_norms = false;
    specs.back().router = default_router(RouterKind::kTokenChoice);
    specs.back().router->loss = RouterLoss::kLossFree;
    specs.push_back(specs.back());
    specs.back().router = RouterSpec{};
    specs.back().router->network = RouterNetwork::kMlp;
    specs.back().router->loss = RouterLoss::kAuxRouter;
  }
  for (const ModelSpec& spec : specs) {
    const Result<ModelPlan> plan = build_plan(spec);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    SCOPED_TRACE(spec.architecture);
    expect_exact_cover(*plan, naming_of(*plan));
    // The hybrids' two layouts hold the same parameters.
    if (spec.architecture == "phi4flash") expect_exact_cover(*plan, NamingScheme::kArchScale);
  }
}

TEST(Naming, FusedAttentionIsInterleavedInOneSchemeAndContiguousInTheOther) {
  const ModelPlan plan = *build_plan(hybrid("phi4flash", 4));
  const auto find = [&](NamingScheme scheme, const std::string& name) {
    for (const FileTensor& tensor : checkpoint_tensors(plan, scheme)) {
      if (tensor.name == name) return tensor;
    }
    return FileTensor{};
  };
  // Four heads over two key heads of size 8.
  const FileTensor fused = find(NamingScheme::kArchScale, "transformer.h.1.attn.attn.weight");
  ASSERT_EQ(fused.pieces.size(), 6U);
  EXPECT_EQ(fused.pieces[3].param_row, 16);  // the second group's queries
  EXPECT_EQ(fused.pieces[3].file_row, 32);
  EXPECT_EQ(fused.pieces[1].rows, 8);
  const FileTensor contiguous = find(NamingScheme::kPhi4Flash, "model.layers.1.attn.Wqkv.weight");
  ASSERT_EQ(contiguous.pieces.size(), 3U);
  EXPECT_EQ(contiguous.pieces[1].file_row, 32);
}

// Names, shapes and ties of one reference case.
void expect_same_tensors(const std::string& folder, const ModelPlan& plan, NamingScheme scheme) {
  std::map<std::string, std::vector<int64_t>> expected, found;
  std::map<std::string, std::string> aliases, expected_aliases;
  const nlohmann::json header = safetensors_header(folder + "/weights.safetensors");
  for (const auto& [name, tensor] : header.items())
    expected[name] = tensor["shape"].get<std::vector<int64_t>>();
  for (const FileTensor& tensor : checkpoint_tensors(plan, scheme)) {
    found[tensor.name] = tensor.shape;
    for (const std::string& alias : tensor.aliases) aliases[alias] = tensor.name;
  }
  EXPECT_EQ(found, expected) << folder;
  const nlohmann::json described = read_json(folder + "/case.json");
  if (!described.contains("aliases")) return;
  for (const auto& [alias, name] : described["aliases"].items()) expected_aliases[alias] = name;
  EXPECT_EQ(aliases, expected_aliases) << folder;
}

// Compares every case below `family` that has weights of a whole model; returns how many were.
int compare_family(const std::string& family, std::vector<std::string>& unsupported) {
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(family)) {
    const std::string folder = entry.path().string();
    const std::string name = entry.path().filename().string();
    if (!std::filesystem::exists(folder + "/weights.safetensors") || name.starts_with("module_")) continue;
    Result<ModelSpec> spec = load_spec(folder);
    if (!spec.ok()) {
      EXPECT_EQ(spec.error().kind, ErrorKind::kNotSupported) << name << ": " << spec.error().message;
      unsupported.push_back(spec.error().message);
      continue;
    }
    // The weights say it, no configuration does (Mixture-of-Recursions, 8.3).
    if (name == "mor_expert_untied_as_released") spec->share_attention = false;
    const Result<ModelPlan> plan = build_plan(*spec);
    if (!plan.ok()) {
      EXPECT_EQ(plan.error().kind, ErrorKind::kNotSupported) << name << ": " << plan.error().message;
      unsupported.push_back(name + ": " + plan.error().message);
      continue;
    }
    const bool training_names = name == "phi4flash_training_names";
    expect_same_tensors(folder, *plan, training_names ? NamingScheme::kArchScale : naming_of(*plan));
    ++compared;
  }
  return compared;
}

TEST(Naming, EqualsTheTensorsOfTheReferenceCases) {
  if (shared_folder().empty()) GTEST_SKIP() << "needs FATHOM_SHARED/fixtures: the reference cases";
  std::vector<std::string> unsupported;
  const std::string fixtures = shared_folder() + "/fixtures";
  const int mor = compare_family(fixtures + "/mixture-of-recursions", unsupported);
  const int hybrids = compare_family(fixtures + "/decoder-hybrid-decoder", unsupported);
  const int trained = compare_family(fixtures + "/trained", unsupported);
  std::cout << "compared " << mor << " + " << hybrids << " + " << trained << " cases\n";
  for (const std::string& sentence : unsupported) std::cout << "not built: " << sentence << "\n";
  EXPECT_GE(mor, 40);
  EXPECT_GE(hybrids, 15);
  EXPECT_EQ(trained, 2);
}

TEST(Naming, Phi4MiniFlashHasThe434TensorsOfItsTable) {
  if (shared_folder().empty()) GTEST_SKIP() << "needs FATHOM_SHARED/fixtures: phi4_mini_flash_tensors.json";
  const nlohmann::json table =
      read_json(shared_folder() + "/fixtures/decoder-hybrid-decoder/tables/phi4_mini_flash_tensors.json");
  std::map<std::string, std::vector<int64_t>> expected, found;
  for (const auto& row : table["tensors"]) expected[row["name"]] = row["shape"].get<std::vector<int64_t>>();
  const Result<ModelSpec> spec =
      load_spec(std::string(FATHOM_SOURCE_DIR) + "/configs/models/phi-4-mini-flash.toml");
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  const ModelPlan plan = *build_plan(*spec);
  for (const FileTensor& tensor : checkpoint_tensors(plan, naming_of(plan)))
    found[tensor.name] = tensor.shape;
  EXPECT_EQ(found.size(), 434U);
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace fathom
