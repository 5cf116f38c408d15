// Corrupted descriptions of models (TOML, and each dialect of config.json) and of runs.
#include "faults/faults.h"
#include "plan/model_plan.h"
#include "plan/spec_io.h"
#include "train/run_config.h"

namespace fathom::faults {
namespace {

template <class Parse>
std::string plan_of(Parse parse, const std::string& text) {
  const Result<ModelSpec> spec = parse(text, "file");
  if (!spec.ok()) return answer(spec);
  return answer(build_plan(*spec));
}
std::string read_toml(const std::string& text) { return plan_of(parse_spec_toml, text); }
std::string read_json(const std::string& text) { return plan_of(parse_config_json, text); }

const std::string kToml = R"(architecture = "llama"
vocab_size = 97
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 8
num_attention_heads = 4
num_key_value_heads = 2
head_dim = 8
max_position_embeddings = 512
norm_eps = 1e-5
tie_word_embeddings = true
sharing = "middle_cycle"
num_recursion = 3
kv = "recursion_wise"

[router]
kind = "expert"
alpha = 0.1
loss = "aux_loss"
capacity = [1.0, 0.5, 0.25]
)";

std::vector<Fault> toml_faults() {
  const auto line = [](std::string_view from, std::string_view to) { return with(kToml, from, to); };
  const auto extra = [](const std::string& top) { return top + "\n" + kToml; };
  return {
      {"an empty file", "", "file: architecture: absent, expected a string"},
      {"a sentence", "once upon a time",
       "file: line 1: Error while parsing key-value pair: expected '=', saw 'u'"},
      {"cut inside a string", kToml.substr(0, 20),
       "file: line 1: Error while parsing string: encountered end-of-file"},
      {"cut after some keys", kToml.substr(0, 60),
       "file: line 4: Error while parsing key-value pair: encountered end-of-file"},
      {"a key twice", extra("vocab_size = 97"),
       "file: line 3: Error while parsing key-value pair: cannot redefine existing integer 'vocab_size'"},
      {"a table twice", kToml + "[router]\n",
       "file: line 21: Error while parsing table header: cannot redefine existing table 'router'"},
      {"bytes that are not UTF-8", line("\"llama\"", "\"\xff\xfe\""),
       "file: line 1: Encountered invalid utf-8 sequence"},
      {"a zero byte", line("= 97", std::string("= 9\0", 4)),
       "file: line 2: Error while parsing decimal integer: expected digit, saw '\\u0000'"},
      {"a deep key", "a" + repeated(".a", 100000) + " = 1",
       "file: line 1: a key of more parts than the limit of 16"},
      {"deep brackets", "a = " + repeated("[", 100000), "file: line 1: nested deeper than the limit of 32"},
      {"two megabytes", repeated("#\n", 1 << 20), "file: TOML of 2097152 bytes exceeds the limit of 1048576"},
      {"a number too large for 64 bits", line("= 97", "= 9223372036854775808"),
       "file: line 2: Error while parsing decimal integer: '9223372036854775808' is not representable in 64 "
       "bits"},
      {"an unknown key", extra("hiden_size = 32"), "file: unknown key hiden_size"},
      {"an unknown key with a line break", extra("\"a\\nb\" = 1"), "file: unknown key a?b"},
      {"an unknown key of the router", kToml + "alfa = 1\n", "file: unknown key router.alfa"},
      {"an unknown table", kToml + "[routers]\n", "file: unknown key routers"},
      {"a router that is a word",
       with(kToml.substr(0, kToml.find("[router]")), "num_rec", "router = \"expert\"\nnum_rec"),
       "file: router: expected an object"},
      {"an unknown architecture", line("\"llama\"", "\"lama\""),
       "architecture: found \"lama\", expected one of llama, transformer, transformerls, samba, swayoco, "
       "sambayoco, sambay, sambayda, mambay, sambayattn, sambayattnall, sambaymlp, phi4flash, sambay2, "
       "mambay2, sgdny, gdny"},
      {"an architecture that is a number", line("\"llama\"", "1"),
       "file: architecture: found 1, expected a string"},
      {"an unknown initialization", line("kv = ", "initialization = \"best\"\nkv = "),
       "file: initialization: found \"best\", expected one of \"random\", \"stepwise\", \"average\", "
       "\"lower\", \"upper\""},
      {"a depth that is a word", line("kv = ", "base_depth = \"two\"\nkv = "),
       "file: base_depth: found \"two\", expected an integer"},
      {"a size in quotes", line("= 97", "= \"97\""), "file: vocab_size: found \"97\", expected an integer"},
      {"a size with a fraction", line("= 97", "= 97.0"), "file: vocab_size: found 97.0, expected an integer"},
      {"a size that is a list", line("= 97", "= [97]"), "file: vocab_size: found [97], expected an integer"},
      {"a size that is a long list", line("= 97", "= [" + repeated("97, ", 1000) + "]"),
       "file: vocab_size: found an array, expected an integer"},
      {"a size that is a date", line("= 97", "= 1979-05-27"), "file: vocab_size: dates have no meaning here"},
      {"no size", line("hidden_size = 32\n", ""), "file: hidden_size: absent, expected an integer"},
      {"size 0", line("= 97", "= 0"), "vocab_size: found 0, expected 1 to 16777216"},
      {"a negative size", line("hidden_size = 32", "hidden_size = -32"),
       "hidden_size: found -32, expected 1 to 1048576"},
      {"a size of 2^63 - 1", line("intermediate_size = 64", "intermediate_size = 9223372036854775807"),
       "intermediate_size: found 9223372036854775807, expected 1 to 1048576"},
      {"more layers than any model", line("num_hidden_layers = 8", "num_hidden_layers = 1000000000"),
       "num_hidden_layers: found 1000000000, expected 1 to 4096"},
      {"a product of heads that is too large", line("head_dim = 8", "head_dim = 1048576"),
       "num_attention_heads * head_dim: found 4194304, expected 1 to 1048576"},
      {"heads that do not group", line("num_key_value_heads = 2", "num_key_value_heads = 3"),
       "num_key_value_heads: found 3, expected a divisor of num_attention_heads = 4"},
      {"not a number", line("1e-5", "nan"), "norm_eps: found nan, expected a positive number"},
      {"infinity", line("1e-5", "inf"), "norm_eps: found inf, expected a positive number"},
      {"an epsilon that single precision rounds to zero", line("1e-5", "1e-60"),
       "norm_eps: found 1e-60, expected a positive number"},
      {"a base that single precision rounds to infinity", extra("rope_theta = 1e60"),
       "rope_theta: found 1e+60, expected a positive number"},
      {"a flag that is a number", line("= true", "= 1"),
       "file: tie_word_embeddings: found 1, expected true or false"},
      {"an unknown word", line("\"middle_cycle\"", "\"middle\""),
       "file: sharing: found \"middle\", expected one of \"none\", \"cycle\", \"sequence\", "
       "\"middle_cycle\", "
       "\"middle_sequence\""},
      {"no recursion where one is shared", line("num_recursion = 3", "num_recursion = 1"),
       "num_recursion: found 1, expected 2 to 64"},
      {"more recursions than layers", line("num_recursion = 3", "num_recursion = 7"),
       "num_hidden_layers: found 8, expected at least 9 for 7 recursions of middle_cycle"},
      {"a router without recursion", line("sharing = \"middle_cycle\"\nnum_recursion = 3\n", ""),
       "router: a routed model needs sharing = \"cycle\" or \"middle_cycle\""},
      {"a window where no layer has one", extra("sliding_window = 4"),
       "sliding_window: no layer of llama is windowed, expected 0"},
      {"a window of 0", extra("sliding_window = 0"),
       "file: sliding_window: found 0, expected at least 1 (the token itself)"},
      {"capacities of other recursions", line("[1.0, 0.5, 0.25]", "[1.0, 0.5]"),
       "router.capacity: found 2 entries, expected 3, one per recursion"},
      {"capacities that grow", line("[1.0, 0.5, 0.25]", "[1.0, 0.5, 0.75]"),
       "router.capacity: entry 2 is 0.75, which is more than the 0.5 before it"},
      {"a capacity above 1", line("[1.0, 0.5, 0.25]", "[2.0, 0.5, 0.25]"),
       "router.capacity: entry 0 is 2, expected above 0 and at most 1"},
      {"a capacity that is no number", line("[1.0, 0.5, 0.25]", "[nan, 0.5, 0.25]"),
       "router.capacity: entry 0 is nan, expected above 0 and at most 1"},
      {"a capacity in quotes", line("[1.0, 0.5, 0.25]", "[\"1\", 0.5, 0.25]"),
       "file: router.capacity: found [\"1\",0.5,0.25], expected a list of numbers"},
      {"a lower capacity that is no list", kToml + "capacity_low = 0.5\n",
       "file: router.capacity_low: found 0.5, expected a list of numbers"},
      {"a lower capacity of 0", kToml + "capacity_low = [1.0, 0.5, 0.0]\n",
       "router.capacity_low: entry 2 is 0, expected above 0 and at most 1"},
      {"a lower capacity above the capacity", kToml + "capacity_low = [1.0, 0.6, 0.1]\n",
       "router.capacity_low: entry 1 is 0.6, which is more than the capacity of 0.5"},
      {"a threshold that is infinite", kToml + "threshold = [0, inf, 0]\n",
       "router.threshold: found inf, expected a number"},
      {"a negative weight of the router", line("alpha = 0.1", "alpha = -0.1"),
       "router.alpha: found -0.1, expected a positive number"},
      {"a relaxation that is a word", extra("relaxation = \"lora\""), "file: relaxation: expected an object"},
      {"a relaxation of no method", kToml + "[relaxation]\nrank = 4\n",
       "file: relaxation.method: absent, expected one of \"lora\", \"dora\", \"adaption_prompt\", "
       "\"recursion_encoding\""},
      {"an unknown relaxation", kToml + "[relaxation]\nmethod = \"loha\"\n",
       "file: relaxation.method: found \"loha\", expected one of \"lora\", \"dora\", \"adaption_prompt\", "
       "\"recursion_encoding\""},
      {"a rank where nothing has one", kToml + "[relaxation]\nmethod = \"recursion_encoding\"\nrank = 4\n",
       "file: unknown key relaxation.rank"},
      {"a rank of 2^40", kToml + "[relaxation]\nmethod = \"lora\"\nrank = 1099511627776\n",
       "relaxation.rank: found 1099511627776, expected 1 to 1048576"},
      {"a target that is a number", kToml + "[relaxation]\nmethod = \"lora\"\ntargets = [\"q_proj\", 1]\n",
       "file: relaxation.targets: found [\"q_proj\",1], expected a list of strings"},
      {"an unknown target", kToml + "[relaxation]\nmethod = \"dora\"\ntargets = [\"qkv_proj\"]\n",
       "file: relaxation.targets: found \"qkv_proj\", expected some of \"q_proj\", \"k_proj\", \"v_proj\", "
       "\"o_proj\", \"gate_proj\", \"up_proj\", \"down_proj\""},
      {"a prompt of no tokens", kToml + "[relaxation]\nmethod = \"adaption_prompt\"\nprompt_length = 0\n",
       "relaxation.prompt_length: found 0, expected 1 to 1048576"},
      {"more parameters than can be counted",
       R"(architecture = "llama"
vocab_size = 16777216
hidden_size = 1048576
intermediate_size = 1048576
num_hidden_layers = 4096
num_attention_heads = 1
num_key_value_heads = 1
)",
       "plan: more than 70368744177664 parameters at layers.6.mlp.up"},
      {"a state that cannot be counted",
       R"(architecture = "swayoco"
vocab_size = 1
hidden_size = 1
intermediate_size = 1
num_hidden_layers = 4096
num_attention_heads = 1048576
num_key_value_heads = 1048576
head_dim = 1
sliding_window = 1073741824
)",
       "plan: a sequence keeps more than 72057594037927936 numbers at slot kv.32"},
  };
}

TEST(SpecFaults, OfTomlAreRefusedWithTheirSentences) { expect_refusals(kToml, toml_faults(), read_toml, 40); }

const std::string kLlama =
    R"({"model_type":"llama","vocab_size":97,"hidden_size":32,"intermediate_size":64,)"
    R"("num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,)"
    R"("rope_parameters":{"rope_type":"default","rope_theta":10000.0},"hidden_act":"silu"})";
const std::string kPhi =
    R"({"model_type":"phi4flash","vocab_size":97,"hidden_size":32,"intermediate_size":64,)"
    R"("num_hidden_layers":8,"num_attention_heads":4,"num_key_value_heads":2,)"
    R"("max_position_embeddings":64,"mb_per_layer":2,)"
    R"("sliding_window":[null,5,null,5,null,null,null,null]})";
const std::string kTrainingCode =
    R"({"name":"sambay_d8","padded_vocab_size":97,"n_layer":8,"n_embd":32,"n_head":4,)"
    R"("n_query_groups":2,"head_dim":8,"intermediate_size":64,"local_window":5,)"
    R"("rnn_per_layer":2,"yoco":true,"gmu_yoco":true,"nope":true})";
const std::string kDeltaCode =
    R"({"name":"gdny_d8","padded_vocab_size":97,"n_layer":8,"n_embd":32,"n_head":4,)"
    R"("n_query_groups":2,"head_dim":8,"intermediate_size":64,"rnn_per_layer":1,"rnn_type":"gdn",)"
    R"("yoco":true,"gmu_yoco":true,"nope":true,"gdn_constants":{"head_dim":16,"num_heads":2}})";
const std::string kCase =
    R"({"plain":{"sharing":"cycle","num_recursion":2,"mor":{"type":"expert","capacity":[1.0,0.5]}},)"
    R"("llama_config":{"vocab_size":97,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":2,)"
    R"("num_attention_heads":4}})";

std::vector<Fault> json_faults() {
  const auto llama = [](std::string_view from, std::string_view to) { return with(kLlama, from, to); };
  const auto phi = [](std::string_view from, std::string_view to) { return with(kPhi, from, to); };
  const auto code = [](std::string_view from, std::string_view to) { return with(kTrainingCode, from, to); };
  const auto delta = [](std::string_view from, std::string_view to) { return with(kDeltaCode, from, to); };
  const auto mor = [](std::string_view from, std::string_view to) { return with(kCase, from, to); };
  return {
      {"an empty file", "",
       "file: line 1, column 1: syntax error while parsing value - unexpected end of input; expected '[', "
       "'{', or a literal"},
      {"cut in the middle", kLlama.substr(0, 100),
       "file: line 1, column 101: syntax error while parsing object key - unexpected end of input; expected "
       "string literal"},
      {"an array", "[]", "file: is an array, expected an object"},
      {"two objects", kLlama + kLlama,
       "file: line 1, column 232: syntax error while parsing value - unexpected '{'; expected end of input"},
      {"nested deeply", repeated("{\"a\":", 100000),
       "file: line 1, column 161: nested deeper than the limit of 32"},
      {"a key twice", llama("\"vocab_size\":97", "\"vocab_size\":97,\"vocab_size\":98"),
       "file: line 1, column 50: duplicate key \"vocab_size\""},
      {"bytes that are not UTF-8", llama("\"silu\"", "\"\xff\""),
       "file: line 1, column 226: syntax error while parsing value - invalid string: ill-formed UTF-8 byte"},
      {"a literal that is no JSON", llama("97", "NaN"),
       "file: line 1, column 36: syntax error while parsing value - invalid literal"},
      {"a number beyond all numbers", llama("10000.0", "1e999"),
       "file: line 1, column 207: number overflow parsing '1e999'"},
      {"no model_type", llama("\"model_type\":\"llama\",", ""),
       "file: model_type: absent, expected \"llama\", \"phi4flash\" or \"fathom\""},
      {"another model_type", llama("\"model_type\":\"llama\"", "\"model_type\":\"gpt2\""),
       "file: not supported yet: model_type = \"gpt2\" (supported: \"llama\", \"phi4flash\", \"fathom\")"},
      {"a model_type that is an object", llama("\"model_type\":\"llama\"", "\"model_type\":{\"a\":[]}"),
       "file: not supported yet: model_type = {\"a\":[]} (supported: \"llama\", \"phi4flash\", \"fathom\")"},
      {"a size of 2^64 - 1", llama("97", "18446744073709551615"),
       "file: vocab_size: found 18446744073709551615, expected an integer"},
      {"a size with an exponent", llama("97", "97e0"), "file: vocab_size: found 97.0, expected an integer"},
      {"a negative size", llama("\"hidden_size\":32", "\"hidden_size\":-32"),
       "hidden_size: found -32, expected 1 to 1048576"},
      {"a size that is null", llama("\"hidden_size\":32", "\"hidden_size\":null"),
       "file: hidden_size: found null, expected an integer"},
      {"weights of few bits", llama("\"hidden_act\"", "\"quantization_config\":{\"bits\":4},\"hidden_act\""),
       "file: not supported yet: quantization_config = {\"bits\":4}"},
      {"a window", llama("\"hidden_act\"", "\"sliding_window\":16,\"hidden_act\""),
       "file: not supported yet: sliding_window = 16"},
      {"an activation that is not supported", llama("\"silu\"", "\"gelu\""),
       "file: not supported yet: hidden_act = \"gelu\""},
      {"rotary parameters that are a list", llama("{\"rope_type\":\"default\",\"rope_theta\":10000.0}", "[]"),
       "file: rope_parameters: expected an object"},
      {"another kind of rotary embedding", llama("\"default\"", "\"yarn\""),
       "file: not supported yet: rope_parameters.rope_type = \"yarn\""},
      {"a base below zero", llama("10000.0", "-1"), "rope_theta: found -1, expected a positive number"},
      {"heads of no whole size", llama("\"hidden_size\":32", "\"hidden_size\":34"),
       "head_dim: absent, and hidden_size = 34 is not a multiple of num_attention_heads = 4"},
      {"windows of another number of layers", phi("[null,5,", "[5,"),
       "file: sliding_window: expected an integer or a list of 8 entries"},
      {"a window at the wrong layer", phi("[null,5,null,5,", "[5,null,null,5,"),
       "file: sliding_window: entry 0 is 5, expected null"},
      {"two windows", phi("[null,5,null,5,", "[null,5,null,6,"),
       "file: sliding_window: entry 3 is 6, expected the window of all windowed layers"},
      {"a negative window", phi("[null,5,null,5,null,null,null,null]", "-5"),
       "file: sliding_window: found -5, expected at least 1"},
      {"a window of 2^64 - 1", phi("[null,5,null,5,null,null,null,null]", "18446744073709551615"),
       "file: sliding_window: found 18446744073709551615, expected at least 1"},
      {"no vocabulary", phi("\"vocab_size\":97,", ""), "file: vocab_size: absent, expected an integer"},
      {"another layout of layers", phi("\"mb_per_layer\":2", "\"mb_per_layer\":3"),
       "file: not supported yet: mb_per_layer = 3"},
      {"layers that do not alternate", phi("\"num_hidden_layers\":8", "\"num_hidden_layers\":6"),
       "file: sliding_window: expected an integer or a list of 6 entries"},
      {"a width of 2^63 - 1 beside a rank",
       with(phi("\"hidden_size\":32", "\"hidden_size\":9223372036854775807"), "\"mb_per_layer\":2",
            "\"mb_per_layer\":2,\"mamba_dt_rank\":2"),
       "hidden_size: found 9223372036854775807, expected 1 to 1048576"},
      {"an unknown name in the training code", code("sambay_d8", "samba3_d8"),
       "file: not supported yet: model \"samba3_d8\"; architecture: found \"samba3\", expected one of llama, "
       "transformer, transformerls, samba, swayoco, sambayoco, sambay, sambayda, mambay, sambayattn, "
       "sambayattnall, sambaymlp, phi4flash, "
       "sambay2, mambay2, sgdny, gdny"},
      {"a switch of another architecture", code("\"yoco\":true", "\"yoco\":false"),
       "file: not supported yet: yoco = false in sambay, which has true"},
      {"recurrent layers of another architecture", code("\"rnn_per_layer\":2", "\"rnn_per_layer\":1"),
       "file: rnn_per_layer: found 1, expected 2 for sambay"},
      {"no window in the training code", code("\"local_window\":5", "\"local_window\":0"),
       "file: local_window: found 0, expected at least 1, or -1, for sambay"},
      {"full attention in other layers", code("\"yoco\":true", "\"yoco\":true,\"full_per_layer\":2"),
       "file: not supported yet: full_per_layer = 2, with which sambay has other layers of full attention"},
      {"no layer of a period", code("\"yoco\":true", "\"yoco\":true,\"full_per_layer\":0"),
       "file: full_per_layer: found 0, expected at least 1"},
      {"another mixer than the name's", code("\"yoco\":true", "\"yoco\":true,\"rnn_type\":\"gdn\""),
       "file: not supported yet: rnn_type = \"gdn\" in sambay, which has \"mamba\""},
      {"constants of another mixer", code("\"yoco\":true", "\"yoco\":true,\"gdn_constants\":{}"),
       "file: unknown key gdn_constants"},
      {"constants that are a list", delta("{\"head_dim\":16,\"num_heads\":2}", "[]"),
       "file: gdn_constants: expected an object"},
      {"a head of no keys", delta("\"head_dim\":16,", "\"head_dim\":0,"),
       "file: gdn_constants: found head_dim 0, expand_v 2, expected 1 to 1048576"},
      {"a size that overflows", delta("\"head_dim\":16,", "\"expand_v\":9223372036854775807,"),
       "file: gdn_constants: found head_dim 256, expand_v 9223372036854775807, expected 1 to 1048576"},
      {"heads that do not follow from the width", delta("\"num_heads\":2", "\"num_heads\":3"),
       "file: gdn_constants.num_heads: found 3, expected 2 for a width of 32"},
      {"an unknown constant", delta("\"num_heads\":2", "\"num_head\":2"),
       "file: unknown key gdn_constants.num_head"},
      {"another eigenvalue", delta("\"num_heads\":2", "\"allow_neg_eigval\":false"),
       "file: not supported yet: gdn_constants.allow_neg_eigval = false"},
      {"a number for a name", code("\"sambay_d8\"", "8"), "file: name: found 8, expected a string"},
      {"a plain description that is a list",
       mor("{\"sharing\":\"cycle\",\"num_recursion\":2,\"mor\":{\"type\":\"expert\","
           "\"capacity\":[1.0,0.5]}}",
           "[]"),
       "file: plain, llama_config: expected two objects"},
      {"a number of layers of -2^63",
       mor("\"sharing\":\"cycle\",",
           "\"sharing\":\"middle_cycle\",\"num_layers_unrolled\":-9223372036854775808,"),
       "file: num_layers_unrolled: plain says -9223372036854775808, llama_config 2"},
      {"a router that is a list", mor("{\"type\":\"expert\",\"capacity\":[1.0,0.5]}", "[]"),
       "file: plain.mor: expected an object"},
      {"an unknown kind of router", mor("\"expert\"", "\"experts\""),
       "file: plain.mor.type: found \"experts\", expected one of \"expert\", \"token\""},
      {"a size said twice", mor("\"sharing\"", "\"hidden_size\":64,\"sharing\""),
       "file: hidden_size: plain says 64, llama_config 32"},
      {"no number of recursions", mor("\"num_recursion\":2,", ""),
       "file: plain.num_recursion: absent, expected an integer"},
  };
}

TEST(SpecFaults, OfConfigJsonAreRefusedWithTheirSentences) {
  for (const std::string& good : {kPhi, kTrainingCode, kDeltaCode, kCase})
    EXPECT_EQ(read_json(good), "accepted") << good;
  expect_refusals(kLlama, json_faults(), read_json);
}

const std::string kRecipe = R"(name = "run"
[model]
architecture = "llama"
vocab_size = 97
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
[data]
train = ["a.txt"]
sequence_length = 16
order = "shuffle"
[optimizer]
beta1 = 0.9
eps = 1e-8
clip = 1.0
[schedule]
kind = "wsd"
learning_rate = 1e-3
warmup_steps = 10
decay_steps = 20
final_ratio = 0.1
[train]
steps = 100
rows = 4
seed = 1
threads = 0
precision = "f32"
count_masked_labels = false
)";

std::string read_recipe(const std::string& text) {
  return answer(train::parse_run_config(text, {}, "nowhere"));
}

std::vector<Fault> recipe_faults() {
  const auto line = [](std::string_view from, std::string_view to) { return with(kRecipe, from, to); };
  const std::string data = kRecipe.substr(kRecipe.find("[data]"));
  return {
      {"an empty file", "", "the key model is missing: a specification file, or a table of its fields"},
      {"cut inside a string", kRecipe.substr(0, 10),
       "line 1: Error while parsing string: encountered end-of-file"},
      {"a key twice", line("rows = 4", "rows = 4\nrows = 5"),
       "line 27: Error while parsing key-value pair: cannot redefine existing integer 'rows'"},
      {"a deep key", "a" + repeated(".a", 100000) + " = 1",
       "line 1: a key of more parts than the limit of 16"},
      {"an unknown key", "steps = 3\n" + kRecipe, "unknown key steps"},
      {"an unknown section", kRecipe + "[trains]\n", "unknown key trains"},
      {"an unknown key of a section", line("rows = 4", "row = 4"), "unknown key train.row"},
      {"a section that is a number",
       "optimizer = 3\n" + line("[optimizer]\nbeta1 = 0.9\neps = 1e-8\nclip = 1.0\n", ""),
       "optimizer is not a table"},
      {"a name that is a number", line("\"run\"", "1"), "name is not a string"},
      {"no model", data, "the key model is missing: a specification file, or a table of its fields"},
      {"a model that is a number", "model = 3\n" + data, "model is neither a file name nor a table"},
      {"a model that is absent", "model = \"absent.toml\"\n" + data,
       "nowhere/absent.toml: cannot open: No such file or directory"},
      {"a model of another kind of file", "model = \"/dev/zero\"\n" + data,
       "/dev/zero: expected a .toml or .json file, or a directory with config.json"},
      {"a model with a name longer than file systems have",
       "model = \"" + repeated("a", 300) + ".toml\"\n" + data,
       "nowhere/" + repeated("a", 300) + ".toml: cannot open: No such file or directory"},
      {"a wrong model", line("hidden_size = 32", "hidden_size = \"32\""),
       "model: hidden_size: found \"32\", expected an integer"},
      {"no data", line("train = [\"a.txt\"]\n", ""),
       "data.train is missing: text files, directories or token shards"},
      {"no data in a list", line("[\"a.txt\"]", "[]"),
       "data.train is missing: text files, directories or token shards"},
      {"data that is a number", line("[\"a.txt\"]", "3"), "data.train is not a string or a list of strings"},
      {"data with a number", line("[\"a.txt\"]", "[\"a.txt\", 3]"), "data.train is not a list of strings"},
      {"a length of 0", line("sequence_length = 16", "sequence_length = 0"),
       "data.sequence_length is 0, expected at least 1"},
      {"a length of 2^63 - 1", line("sequence_length = 16", "sequence_length = 9223372036854775807"),
       "data.sequence_length is 9223372036854775807, expected at most 1048576"},
      {"a length with a fraction", line("sequence_length = 16", "sequence_length = 16.0"),
       "data.sequence_length is not an integer"},
      {"a length that is a flag", line("sequence_length = 16", "sequence_length = true"),
       "data.sequence_length is not an integer"},
      {"a row without a prediction",
       line("sequence_length = 16", "sequence_length = 1\nlabel_inside_row = true"),
       "data.sequence_length is 1, a row that predicts inside itself has at least 2 tokens"},
      {"an unknown order", line("\"shuffle\"", "\"random\""),
       "data.order is \"random\", expected one of shuffle, sequential, affine, file_groups"},
      {"an empty word", line("\"shuffle\"", "\"\""),
       "data.order is \"\", expected one of shuffle, sequential, affine, file_groups"},
      {"an order that is a number", line("\"shuffle\"", "1"), "data.order is not a string"},
      {"a moment of 1", line("beta1 = 0.9", "beta1 = 1"),
       "optimizer.beta1 is 1, expected at most 0.9999999404"},
      {"a moment that is no number", line("beta1 = 0.9", "beta1 = nan"),
       "optimizer.beta1 is nan, expected at least 0"},
      {"an epsilon of 0", line("eps = 1e-8", "eps = 0"),
       "optimizer.eps is 0, expected at least 1.175494351e-38"},
      {"a negative clip", line("clip = 1.0", "clip = -1.0"), "optimizer.clip is -1, expected at least 0"},
      {"an infinite clip", line("clip = 1.0", "clip = inf"),
       "optimizer.clip is inf, expected at most 1000000000"},
      {"a rate in quotes", line("1e-3", "\"1e-3\""), "schedule.learning_rate is not a number"},
      {"a negative rate", line("1e-3", "-1e-3"), "schedule.learning_rate is -0.001, expected at least 0"},
      {"a rate that is no number", line("1e-3", "nan"), "schedule.learning_rate is nan, expected at least 0"},
      {"a last ratio above 1", line("final_ratio = 0.1", "final_ratio = 1.5"),
       "schedule.final_ratio is 1.5, expected at most 1"},
      {"phases longer than the run", line("decay_steps = 20", "decay_steps = 91"),
       "schedule.warmup_steps and schedule.decay_steps are together more than schedule.total_steps 100"},
      {"phases whose sum overflows",
       with(line("decay_steps = 20", "decay_steps = 9223372036854775807"), "warmup_steps = 10",
            "warmup_steps = 9223372036854775807"),
       "schedule.warmup_steps is 9223372036854775807, expected at most 1099511627776"},
      {"no steps", line("\nsteps = 100", "\nsteps = 0"), "train.steps is 0, expected at least 1"},
      {"a negative seed", line("seed = 1", "seed = -1"), "train.seed is -1, expected at least 0"},
      {"threads that a machine word cuts", line("threads = 0", "threads = 4294967297"),
       "train.threads is 4294967297, expected at most 4096"},
      {"groups of no file", line("\"shuffle\"", "\"file_groups\"\ngroup_files = 0"),
       "data.group_files is 0, expected at least 1"},
      {"segments of documents that see each other",
       line("\"shuffle\"", "\"shuffle\"\nsegments_of_row = true"),
       "data.segments_of_row is for data.keep_documents_apart = true"},
      {"two rates", line("learning_rate = 1e-3", "learning_rate = 1e-3\nbase_learning_rate = 1e-3"),
       "schedule.learning_rate and schedule.base_learning_rate are both given, expected one of them"},
      {"a base for batches of nothing",
       line("learning_rate = 1e-3", "base_learning_rate = 1e-3\nbase_batch_tokens = 0"),
       "schedule.base_batch_tokens is 0, expected at least 1"},
      {"labels smoothed beyond all", line("seed = 1", "seed = 1\nlabel_smoothing = 1.5"),
       "train.label_smoothing is 1.5, expected at most 1"},
      {"dropout of everything", line("seed = 1", "seed = 1\nattention_dropout = 1"),
       "train.attention_dropout is 1, expected at most 0.9999999404"},
      {"an unknown precision", line("\"f32\"", "\"f16\""),
       "train.precision is \"f16\", expected one of f32, f32-double-sums, bf16"},
      {"a flag that is a number", line("= false", "= 0"), "train.count_masked_labels is not true or false"},
  };
}

TEST(SpecFaults, OfRecipesAreRefusedWithTheirSentences) {
  expect_refusals(kRecipe, recipe_faults(), read_recipe);
}

TEST(SpecFaults, OfOverridesAreRefusedWithTheirSentences) {
  const std::pair<std::string, std::string> rows[] = {
      {"", "override \"\" is not of the form section.key=value"},
      {"=3", "override \"=3\" is not of the form section.key=value"},
      {"train.rows", "override \"train.rows\" is not of the form section.key=value"},
      {"train.rows=many", "train.rows is not an integer"},
      {"train.rows.a=3", "override train.rows.a: rows is not a table"},
      {"train.rows=4\nsteps=5", "train.rows is not an integer"},
      {"trian.rows=4", "unknown key trian"},
      {"train..rows=4", "unknown key train."},
      {repeated("a.", 16) + "a=1",
       "override \"" + repeated("a.", 16) + "a\" has more parts than the limit of 16"},
  };
  for (const auto& [text, sentence] : rows)
    EXPECT_EQ(answer(train::parse_run_config(kRecipe, {text}, "nowhere")), sentence) << text;
}

}  // namespace
}  // namespace fathom::faults
