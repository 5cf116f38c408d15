#!/usr/bin/env python3
"""`fathom verify` must see a wrong entry of a table of evaluations: wrong_table.py FATHOM FIXTURES."""

import subprocess
import sys
import tempfile
from pathlib import Path

# A file, what stands there, what is put in its place, and the part of the output that tells it.
WRONG = (
    ("phonebook.json", "Barbara Smith: 6648696604", "Barbara Smith: 6648696605", "prompts, byte by byte (5 compared)"),
    ("phonebook.json", '"label": "6851666334"', '"label": "6851666335"', "labels (5 compared)"),
    ("phonebook.json", '"seed": 11', '"seed": 13', "prompts, byte by byte (5 compared)"),
    ("phonebook.json", '"mode": "verbose"', '"mode": "default"', "prompts, byte by byte (5 compared)"),
    ("phonebook.json", '"eval_batch_size": 4', '"eval_batch_size": 5', "defaults of the command line (8 compared)"),
    ("phonebook.json", "-> 4204800", "-> 4204801", "rules (6 compared)"),
    ("phonebook.json", "block of 20", "block of 21", "rules (6 compared)"),
    ("reasoning_eval.json", "put your final answer", "put the final answer", "prompts, byte by byte (11 compared)"),
    ("reasoning_eval.json", "{Question}\\n\\nA)", "{Question}\\nA)", "prompts, byte by byte (11 compared)"),
    ("reasoning_eval.json", "uniformly from 4", "uniformly from 5", "places of the right choice (9 compared)"),
    ("reasoning_eval.json", '"samples_for_pass_at_1": 64', '"samples_for_pass_at_1": 32', "tasks, sampling, engine"),
    ("reasoning_eval.json", '"temperature": 0.6', '"temperature": 0.7', "tasks, sampling, engine"),
)

# Likewise what is no table: the sentence behind the file's name.
BROKEN = (
    ("phonebook.json", '"mode": "jrt"', '"mode": "loud"',
     'phonebook: found the mode "loud", expected default, verbose, twice or interleaved'),
    ("phonebook.json", '"entries": 8', '"entries": 2', "an example has 2 entries, expected 3 to 1000000"),
    ("phonebook.json", '"seed": 7', '"seed": 1.5',
     'the seed of an example is "1.5", expected a whole number of at most 64 bits'),
    ("phonebook.json", '"num_eval": 48', '"num_tests": 48', 'command_line_defaults: unknown setting "num_tests"'),
    ("phonebook.json", "e.g. 42,0,480,0", "e.g. 42,0,480", "seed_per_batch has 4 numbers in "),
    ("reasoning_eval.json", '"name": "aime24"', '"name": "aime26"', 'unknown task "aime26", expected one of '),
    ("reasoning_eval.json", '"name": "aime24"', '"name": "piqa"', 'task "piqa" is no reasoning task'),
)


def verify(fathom: str, fixtures: Path, file: str, old: str, new: str) -> tuple[int, str]:
    with tempfile.TemporaryDirectory() as folder:
        tables = Path(folder, "tables")
        tables.mkdir()
        text = (fixtures / "tables_evaluation" / file).read_text()
        if old not in text:
            raise SystemExit(f"{file} has no {old}")
        (tables / file).write_text(text.replace(old, new, 1))
        done = subprocess.run([fathom, "verify", str(tables)], capture_output=True, text=True)
        return done.returncode, done.stdout


def main() -> int:
    fathom, fixtures = sys.argv[1], Path(sys.argv[2])
    for file, old, new, part in WRONG:
        code, text = verify(fathom, fixtures, file, old, new)
        if code != 1 or not any(part in line and line.endswith("FAILED") for line in text.splitlines()):
            print(f"{file}, {new}: exit code {code}, expected a failure of {part}\n{text}")
            return 1
    for file, old, new, sentence in BROKEN:
        code, text = verify(fathom, fixtures, file, old, new)
        if code != 1 or f"/{file}: {sentence}" not in text:
            print(f"{file}, {new}: exit code {code}, expected the sentence {sentence}\n{text}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
