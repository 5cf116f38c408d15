"""Small studies on tiny runs: the order of the queue, what it does not do twice, what it concludes and refuses."""

import argparse
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from small_study import Refusal, table, text  # noqa: E402
from small_study.study import read_study, read_toml  # noqa: E402

FATHOM = None

RECIPE = """
name = "tiny"
[model]
architecture = "llama"
vocab_size = 257
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 4
num_attention_heads = 2
num_key_value_heads = 1
max_position_embeddings = 64
[data]
train = "unused.txt"
sequence_length = 16
[schedule]
kind = "wsd"
learning_rate = 5e-3
[train]
rows = 2
eval_rows = 4
save_every = 2
keep = 2
threads = 1
"""

# Six steps of the vanilla model; the routed one has fewer operations a token.
STUDY = """
recipe = "recipe.toml"
budget = 4.4e6
[models.vanilla]
[models.mor]
sharing = "middle_cycle"
num_recursion = 2
router = { kind = "expert" }
[models.other]
num_key_value_heads = 2
[[groups]]
name = "main"
models = ["vanilla", "mor"]
[[groups]]
name = "rest"
models = ["other"]
[[comparisons]]
lower = "mor"
higher = "vanilla"
source = "table 0"
published = [1.0, 2.0]
setting = "nowhere"
"""


# A model of phonebooks beside it; bytes of a book fit its context.
BOOKS = """
[models.asked]
max_position_embeddings = 512
[phonebook]
models = ["asked"]
entries = 3
train = 16
valid = 16
asked = 16
[[questions]]
first = "asked"
second = "asked"
measure = "phonebook"
text = "itself"
[[questions]]
first = "vanilla"
second = "other"
text = "heads"
[[groups]]
name = "books"
models = ["asked"]
"""


class TinyStudy:
    def __init__(self, folder: str, study: str = STUDY):
        self.folder, self.out = Path(folder), Path(folder, "out")
        Path(folder, "text").mkdir()
        Path(folder, "text", "cat.txt").write_text("the cat sat on the mat and looked at the moon.\n" * 60)
        Path(folder, "recipe.toml").write_text(RECIPE)
        self.study = Path(folder, "study.toml")
        self.study.write_text(study)

    def call(self, *words) -> subprocess.CompletedProcess:
        words = [*words, "--out", self.out, "--study", self.study, "--fathom", FATHOM, "--seeds", "1,2"]
        return subprocess.run([ROOT / "tools/mor-small", *words], capture_output=True, text=True, check=False)

    def work(self, hours: float, *words) -> subprocess.CompletedProcess:
        return self.call(*words, "--cpu-hours", str(hours), "--text", str(self.folder / "text"))

    def evaluation(self, run: str) -> dict:
        lines = [json.loads(line) for line in (self.out / run / "metrics.jsonl").read_text().splitlines()]
        return [line for line in lines if line["kind"] == "evaluation"][-1]


def trained(output: str) -> list[str]:
    return re.findall(r"^(\S+): from step", output, re.MULTILINE)


class QueueOfTinyRuns(unittest.TestCase):
    def test_trains_what_is_missing_within_the_budget(self):
        with tempfile.TemporaryDirectory() as folder:
            study = TinyStudy(folder)
            nothing = study.work(0, "main")
            self.assertEqual(nothing.returncode, 0, nothing.stderr)
            self.assertIn("stopped; left: 4 runs", nothing.stdout)
            self.assertEqual(list(study.out.glob("*-seed*")), [])

            # Spent as soon as the first run has begun.
            spent = study.work(1e-9, "main")
            self.assertEqual(spent.returncode, 0, spent.stderr)
            self.assertEqual(trained(spent.stdout), ["vanilla-seed1"])
            self.assertIn("stopped; left: 4 runs", spent.stdout)

            whole = study.work(1, "main")
            self.assertEqual(whole.returncode, 0, whole.stderr)
            self.assertEqual(trained(whole.stdout), ["vanilla-seed1", "mor-seed1", "vanilla-seed2", "mor-seed2"])
            self.assertIn("finished: all runs", whole.stdout)
            self.assertGreater(study.evaluation("mor-seed1")["step"], study.evaluation("vanilla-seed1")["step"])

            # As if killed while it wrote its last checkpoint.
            before = study.evaluation("vanilla-seed2")
            shutil.rmtree(study.out / "vanilla-seed2" / f"checkpoint-{before['step']}")
            again = study.work(1, "main")
            self.assertEqual(trained(again.stdout), ["vanilla-seed2"])
            self.assertIn("vanilla-seed2: from step 4 to 6", again.stdout)
            self.assertEqual(study.evaluation("vanilla-seed2"), before)
            self.assertEqual(trained(study.work(1, "main").stdout), [])

            found = study.call("--table")
            self.assertEqual(found.returncode, 0, found.stderr)
            self.assertRegex(found.stdout, r"\| vanilla \| 2 \| \d\.\d{4} \(\d\.\d{4}\) \|")
            self.assertRegex(found.stdout, r"\| other \| 0 \| - \|")
            self.assertRegex(found.stdout, r"\| mor \| vanilla \| 1\.0000 < 2\.0000 \| table 0: nowhere \| [+-]")
            self.assertTrue((study.out / "main.svg").read_text().startswith("<svg"))
            self.assertFalse((study.out / "rest.svg").exists())

            # Written down, the results stand for runs that are gone.
            results = study.folder / "results.jsonl"
            written = study.call("--table", "--write-results", results)
            self.assertIn("wrote 4 results", written.stderr)
            shutil.rmtree(study.out / "vanilla-seed1")
            self.assertNotEqual(study.call("--table").stdout, found.stdout)
            self.assertEqual(study.call("--table", "--results", results).stdout, found.stdout)
            lines = results.read_text()
            results.write_text(lines.replace('"steps": 6', '"steps": 7', 1))
            self.assertEqual(
                study.call("--table", "--results", results).stderr,
                f"mor-small: {results}, line 1: vanilla after 7 steps, where this study has 6\n",
            )
            results.write_text(lines + "no\n")
            self.assertIn("line 5: expected an object", study.call("--table", "--results", results).stderr)
            self.assertIn("go with --table", study.work(0, "--results", results).stderr)

            self.assert_refused(study.call("--cpu-hours", "1"), study.out / "text.json")
            study.study.write_text(STUDY.replace("4.4e6", "8.8e6"))
            self.assert_refused(study.call("--table"), study.out / "study.json")

    def test_model_of_phonebooks_is_finished_when_it_has_been_asked(self):
        with tempfile.TemporaryDirectory() as folder:
            study = TinyStudy(folder, STUDY.replace("budget = 4.4e6", "tokens = 64") + BOOKS)
            whole = study.work(1, "books")
            self.assertEqual(whole.returncode, 0, whole.stderr)
            self.assertRegex(whole.stdout, r"asked-seed1: \d+\.\d% of the numbers found")
            books = {part: (study.out / "phonebook" / f"{part}.jsonl").read_text() for part in ("train", "valid")}
            texts = [json.loads(line)["text"] for line in (books["train"] + books["valid"]).splitlines()]
            self.assertEqual(len(set(texts)), 32)
            for text in texts:
                book, question = text.split("\n\n")[0].splitlines(), text.split("\n\n")[2]
                self.assertEqual(len(book), 3)
                self.assertIn(question, book)
            self.assertIn("phonebook", (study.out / "asked-seed1" / "config.toml").read_text())

            answers = study.out / "asked-seed1" / "phonebook.json"
            before = answers.read_text()
            answers.unlink()
            again = study.work(1, "books")
            self.assertEqual(trained(again.stdout), ["asked-seed1"])
            self.assertEqual(json.loads(answers.read_text())["results"], json.loads(before)["results"])

            # More than such a run finds.
            changed = json.loads(before)
            changed["results"]["phonebook"]["exact_match,none"] = 0.5
            answers.write_text(json.dumps(changed))
            results = study.folder / "results.jsonl"
            found = study.call("books", "--table", "--write-results", results)
            self.assertEqual(found.returncode, 0, found.stderr)
            self.assertRegex(found.stdout, r"\| asked \| 2 \| .* \| 0\.2500 \(0\.5000\) \|\n")
            self.assertIn("| asked | asked | itself: phonebook | +0.0000 | 0.5000 | 2 | not resolved", found.stdout)
            self.assertNotIn("heads: loss", found.stdout)
            shutil.rmtree(study.out / "asked-seed1")
            self.assertEqual(study.call("books", "--table", "--results", results).stdout, found.stdout)
            self.assertIn("heads: loss | - | - | 0 | not run |", study.call("--table").stdout)

    def assert_refused(self, called: subprocess.CompletedProcess, file: Path):
        sentence = "says that the runs there were made with something else; choose another --out"
        self.assertEqual((called.returncode, called.stderr), (1, f"mor-small: {file} {sentence}\n"))


class Verdicts(unittest.TestCase):
    def verdict(self, lower, higher) -> str:
        return table.judge(dict(enumerate(lower)), dict(enumerate(higher))).verdict(("as published", "opposite"))

    def test_gap_above_both_spreads_is_resolved(self):
        self.assertEqual(self.verdict([1.0, 1.25], [1.5, 1.625]), "as published")
        self.assertEqual(self.verdict([1.5, 1.625], [1.0, 1.25]), "opposite")

    def test_gap_of_a_spread_is_not_resolved(self):
        self.assertEqual(self.verdict([1.0, 1.25], [1.25, 1.5]), table.NOT_RESOLVED)
        self.assertEqual(self.verdict([1.0, 1.0], [1.0, 2.0]), table.NOT_RESOLVED)

    def test_one_seed_is_not_resolved(self):
        self.assertEqual(self.verdict([1.0], [2.0]), table.NOT_RESOLVED)

    def test_only_seeds_of_both_count(self):
        found = table.judge({1: 1.0, 2: 1.25, 3: 9.0}, {1: 1.5, 2: 1.75, 4: 0.0})
        self.assertEqual((found.seeds, found.gap, found.spread), (2, 0.5, 0.25))
        self.assertIsNone(table.judge({1: 1.0}, {2: 1.0}))

    def test_no_number_is_not_resolved(self):
        self.assertEqual(self.verdict([1.0, 1.0], [math.nan, math.nan]), table.NOT_RESOLVED)


class HeldOutText(unittest.TestCase):
    def test_is_the_end_from_a_line_on(self):
        lines = b"".join(b"line %03d\n" % i for i in range(100))
        train, valid = text.split(lines)
        self.assertEqual(train + valid, lines)
        self.assertTrue(valid.startswith(b"line 09"))
        self.assertEqual(len(valid), len(lines) * 5 // 100)

    def test_one_line_cannot_be_split(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "one.txt").write_text("a line without an end")
            with self.assertRaisesRegex(Refusal, "one.txt holds no end of a line before its last 5%"):
                text.hold_out(Path(folder), Path(folder, "out"))


# (what is written instead of what, what the sentence says)
REFUSED = [
    ("budget = 4.4e6", "budget = 0.5", "study.toml: budget is 0.5, expected at least 1"),
    ("budget = 4.4e6", 'budget = "much"', "study.toml: budget is 'much', expected a number of operations"),
    ("budget = 4.4e6", "tokens = 0", "study.toml: tokens is 0, expected at least 1"),
    ("budget = 4.4e6", "tokens = 64\ndecay = 1", "study.toml: decay is 1, expected 0 to 0.95"),
    ("[models.other]", "[models.other]\nrecipe = 3", "models.other: recipe is 3, expected a table of the recipe's keys"),
    ("budget = 4.4e6", "", "study.toml: budget is missing, expected a number of operations"),
    ("budget = 4.4e6", "budget = 1\nseeds = 3", "study.toml: unknown key seeds"),
    ("[models.vanilla]", '[models."a b"]', "study.toml: models.a b is not made of letters, digits, '.', '_' and '-'"),
    ('["vanilla", "mor"]', '["nobody"]', "groups[0]: models names 'nobody', which is no model of the study"),
    ('name = "rest"', 'name = "main"', "groups[1] is called 'main', as another group or model is"),
    ('name = "rest"', 'name = "mor"', "groups[1] is called 'mor', as another group or model is"),
    ('lower = "mor"', 'lower = "nobody"', "comparisons[0] names 'nobody', which is no model of the study"),
    ("[1.0, 2.0]", "[2.0, 1.0]", "published is [2.0, 1.0], expected the first to be the lower"),
    ("num_key_value_heads = 2", "x = 2026-01-01", "models.other holds a value that no model has: Object of type date "
     "is not JSON serializable"),
    ("[1.0, 2.0]", "[1.0, nan]", "published is [1.0, nan], expected two losses"),
    ('setting = "nowhere"', "", "comparisons[0]: setting is missing, expected a text"),
    ('"recipe.toml"', '"nothing.toml"', "nothing.toml: No such file or directory"),
]

# The same, of a study with BOOKS.
REFUSED_BOOKS = [
    ("entries = 3", "entries = 2", "study.toml: phonebook: entries is 2, expected at least 3"),
    ("asked = 16", "asked = 8", "study.toml: phonebook: asked is 8, expected a multiple of 16"),
    ("asked = 16", "", "study.toml: phonebook: asked is missing, expected a number of books"),
    ('models = ["asked"]\nentries', 'models = ["nobody"]\nentries', "phonebook: models names 'nobody', which is no "
     "model of the study"),
    ('measure = "phonebook"', 'measure = "speed"', "questions[0]: measure is 'speed', expected one of loss, phonebook"),
    ('second = "asked"', 'second = "other"', "questions[0]: measure is 'phonebook', and not both models are in "
     "phonebook.models"),
    ('first = "vanilla"', 'first = "nobody"', "questions[1] names 'nobody', which is no model of the study"),
    ('text = "heads"', "", "questions[1]: text is missing, expected a text"),
]


class Studies(unittest.TestCase):
    def test_wrong_study_is_refused_with_its_sentence(self):
        cases = [(STUDY, *case) for case in REFUSED] + [(STUDY + BOOKS, *case) for case in REFUSED_BOOKS]
        for text, old, new, sentence in cases:
            with self.subTest(sentence=sentence), tempfile.TemporaryDirectory() as folder:
                self.assertIn(old, text)
                study = TinyStudy(folder, text.replace(old, new, 1))
                with self.assertRaises(Refusal) as refused:
                    read_study(study.study)
                self.assertTrue(str(refused.exception).endswith(sentence), refused.exception)

    def test_own_study_has_a_plan_for_every_model(self):
        study = read_study(ROOT / "configs/recipes/mor-small/study.toml")
        lengths = study.lengths(Path(FATHOM), list(study.models))
        for name, length in lengths.items():
            operations = length.steps * study.batch_tokens * length.flops_per_token
            self.assertLess(abs(operations / study.budget.amount - 1), 0.002, name)
        self.assertEqual(study.choose([])[0], ["vanilla", "recursive-3", "mor-2", "mor-3"])
        self.assertEqual(set(sum(study.choose([]), [])), set(study.models))
        with self.assertRaisesRegex(Refusal, "no model or group 'nobody', expected one of main,"):
            study.choose(["nobody"])

    def test_equal_tokens_are_equal_steps(self):
        with tempfile.TemporaryDirectory() as folder:
            text = STUDY.replace("budget = 4.4e6", "tokens = 650\ndecay = 0.5")
            text = text.replace("[models.other]", '[models.other]\nrecipe = { "schedule.learning_rate" = 1e-3 }')
            made = TinyStudy(folder, text)
            lengths = read_study(made.study).lengths(Path(FATHOM), ["vanilla", "mor"])
            for length in lengths.values():  # 20 steps of 32 tokens
                self.assertEqual((length.steps, length.warmup_steps, length.decay_steps, length.tokens), (20, 1, 10, 640))
            self.assertGreater(lengths["vanilla"].flops_per_token, lengths["mor"].flops_per_token)
            whole = made.work(1, "other")
            self.assertEqual(whole.returncode, 0, whole.stderr)
            steps = [json.loads(line) for line in (made.out / "other-seed1" / "metrics.jsonl").read_text().splitlines()]
            rates = [step["learning_rate"] for step in steps if step["kind"] == "step"]
            self.assertEqual(max(rates), 1e-3)
            self.assertIn("650 training tokens a run", made.call("other", "--table").stdout)

    def test_study_of_hybrids_has_models_of_about_one_size(self):
        study = read_study(ROOT / "configs/recipes/sambay-small/study.toml")
        lengths = study.lengths(Path(FATHOM), list(study.models))
        for group, most in (("main", 1.07), ("both", 1.05)):
            sizes = [lengths[name].non_embedding for name in study.groups[group]]
            self.assertLess(max(sizes), most * min(sizes), group)
        self.assertEqual(len({length.steps for length in lengths.values()}), 1)
        self.assertEqual(set(sum(study.choose([]), [])), set(study.models))

    def test_study_of_hybrids_compares_with_the_published_losses_of_its_depth(self):
        study = read_study(ROOT / "configs/recipes/sambay-small/study.toml")
        fits = json.loads((ROOT / "tests/fixtures/tables_study/scaling_fits.json").read_text())["flops_fits"]
        published = {fit["series"]: fit["loss"][0] for fit in fits}  # the first depth is 8
        names = {"transformer-d8": "Transformer++", "sambayoco-d8": "Samba+YOCO", "sambay-d8": "SambaY"}
        self.assertTrue(study.comparisons)
        for comparison in study.comparisons:
            pair = (comparison.lower, comparison.higher)
            self.assertEqual(comparison.published, tuple(published[f"{names[name]} muP++"] for name in pair))

    def test_rates_of_hybrids_follow_depth_and_width(self):
        study = read_study(ROOT / "configs/recipes/sambay-small/study.toml")
        base = read_toml(study.recipe)["schedule"]
        self.assertEqual(base["base_batch_tokens"], study.batch_tokens)
        for name, model in study.models.items():
            if model["parametrisation"] != "mup++":
                continue
            depth, over_base = model["num_hidden_layers"], 16 / model["num_hidden_layers"]
            multiplier = model.get("mup_base_depth", 16) / depth
            # A width of 512 is that of 16 layers; hybrids are 1/32 or 1/64 narrower.
            self.assertAlmostEqual(multiplier * model["hidden_size"] / 512, 1, delta=1 / 31, msg=name)
            given = study.overrides[name].get("schedule.base_learning_rate", base["base_learning_rate"])
            wanted = base["base_learning_rate"] * {"half": 0.5, "double": 2}.get(name.rpartition("-")[2], 1)
            self.assertAlmostEqual(given * multiplier**0.5 / (wanted * over_base**0.5), 1, delta=1e-3, msg=name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fathom", required=True)
    flags, rest = parser.parse_known_args()
    FATHOM = flags.fathom
    unittest.main(argv=[sys.argv[0], *rest])
