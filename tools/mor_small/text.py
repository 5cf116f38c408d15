"""The text that a study trains on, and the part of it that is held out."""

import json
from pathlib import Path

from mor_small import Refusal
from mor_small.runs import pin

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
    for part in parts:
        part.mkdir(parents=True, exist_ok=True)
    for file in files:
        for part, text in zip(parts, split(file.read_bytes())):
            path = part / file.name
            # Left alone where it is there: younger text would be turned into tokens again.
            if not path.exists():
                with open(path.with_suffix(".writing"), "wb") as written:
                    written.write(text)
                path.with_suffix(".writing").replace(path)
    return [f"--data.{part.name}={json.dumps(str(part))}" for part in parts]


def recipe_words(folder: Path | None, out: Path) -> list[str]:
    """The recipe's own text, or that of a folder, in `out`, all of whose runs have the same."""
    pin(out / "text.json", {"folder": None if folder is None else str(folder.resolve())})
    return [] if folder is None else hold_out(folder, out)
