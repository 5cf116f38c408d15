"""Phonebooks: the text of the models that train on them, and the numbers that these find again."""

import json
import tempfile
from pathlib import Path

from small_study import fathom
from small_study.runs import ANSWERS, write_atomic
from small_study.study import Phonebook

SEEDS = {"train": 1, "valid": 2}  # what is asked has the published seed, 42
BATCH = 4


def words_of(book: Phonebook, items: int) -> list[str]:
    drawn = ["--entries", str(book.entries), "--batches", str(items // BATCH), "--batch-items", str(BATCH)]
    return ["--tasks", "phonebook", *drawn]


def documents(program: Path, book: Phonebook, items: int, seed: int) -> list[str]:
    """Books as the task draws them, each with its answer."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "items.jsonl")
        fathom.ask(program, ["eval", *words_of(book, items), "--seed", str(seed), "--write-items", str(file)])
        drawn = [json.loads(line) for line in file.read_text().splitlines()]
    return [f"{item['prompt']} {item['target']}" for item in drawn]


def recipe_words(program: Path, book: Phonebook, out: Path) -> list[str]:
    """Writes out/phonebook/train.jsonl and valid.jsonl, a book a line; the words of a recipe for them."""
    words = []
    for part, seed in SEEDS.items():
        path = out / "phonebook" / f"{part}.jsonl"
        # Left alone where it is there: younger text would be turned into tokens again.
        if not path.exists():
            texts = documents(program, book, getattr(book, part), seed)
            write_atomic(path, "".join(json.dumps({"text": text}) + "\n" for text in texts).encode())
        words.append(f"--data.{part}={json.dumps(str(path))}")
    return words


def question_words(run: Path, book: Phonebook) -> list[str]:
    """What `fathom eval` is told to ask a run."""
    return [str(run), *words_of(book, book.asked), "--quiet", "--output", str(run / ANSWERS)]
