"""The text that a study trains on, and the part of it that is held out."""

import json
from pathlib import Path

from small_study import Refusal
from small_study.runs import pin, write_atomic

HELD_OUT = 0.05  # of each file: its end


def split(text: bytes) -> tuple[bytes, bytes]:
    """Cut at the line that begins last before the held-out share."""
    cut = text.rfind(b"\n", 0, len(text) - int(HELD_OUT * len(text))) + 1
    return text[:cut], text[cut:]


def hold_out(folder: Path, out: Path) -> list[str]:
    """Writes out/text/train and out/text/valid from the .txt files of a folder; the words of a recipe for them."""
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise Refusal(f"{folder} holds no .txt file")
    parts = [out / "text" / "train", out / "text" / "valid"]
    for file in files:
        train, valid = split(file.read_bytes())
        if not train:
            raise Refusal(f"{file} holds no end of a line before its last {HELD_OUT:.0%}")
        for part, text in zip(parts, (train, valid)):
            # Left alone where it is there: younger text would be turned into tokens again.
            if not (part / file.name).exists():
                write_atomic(part / file.name, text)
    # The recipe's separator is one of its own text; here a file is a document.
    return [f"--data.{part.name}={json.dumps(str(part))}" for part in parts] + ['--data.document_separator=""']


def recipe_words(folder: Path | None, out: Path) -> list[str]:
    """The recipe's own text, or that of a folder, in `out`, all of whose runs have the same."""
    pin(out / "text.json", {"folder": None if folder is None else str(folder.resolve())})
    return [] if folder is None else hold_out(folder, out)
