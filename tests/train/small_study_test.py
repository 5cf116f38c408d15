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
from small_study.study import read_study  # noqa: E402

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

    def assert_refused(self, called: subprocess.CompletedProcess, file: Path):
        sentence = "says that the runs there were made with something else; choose another --out"
        self.assertEqual((called.returncode, called.stderr), (1, f"mor-small: {file} {sentence}\n"))


class Verdicts(unittest.TestCase):
    def verdict(self, lower, higher) -> str:
        return table.judge(dict(enumerate(lower)), dict(enumerate(higher))).verdict

    def test_gap_above_both_spreads_is_resolved(self):
        self.assertEqual(self.verdict([1.0, 1.25], [1.5, 1.625]), table.AS_PUBLISHED)
        self.assertEqual(self.verdict([1.5, 1.625], [1.0, 1.25]), table.OPPOSITE)

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


class Studies(unittest.TestCase):
    def test_wrong_study_is_refused_with_its_sentence(self):
        for old, new, sentence in REFUSED:
            with self.subTest(sentence=sentence), tempfile.TemporaryDirectory() as folder:
                self.assertIn(old, STUDY)
                study = TinyStudy(folder, STUDY.replace(old, new, 1))
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
        for group in ("main", "both"):
            sizes = [lengths[name].non_embedding for name in study.groups[group]]
            self.assertLess(max(sizes), 1.25 * min(sizes), group)
        self.assertEqual(len({length.steps for length in lengths.values()}), 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fathom", required=True)
    flags, rest = parser.parse_known_args()
    FATHOM = flags.fathom
    unittest.main(argv=[sys.argv[0], *rest])
