#!/usr/bin/env python3
"""Fails on an include that the map of folders in docs/architecture.md does not allow.

usage: check_layering.py SRC

Reads the #include lines of every source file under SRC. A folder may include itself and those that ALLOWED lists;
LibTorch's headers are for src/train alone; OpenMP is for nobody.
"""

import re
import sys
from pathlib import Path

ALLOWED = {
    "base": "",
    "plan": "base",
    "kernels": "base",
    "io": "base",
    "text": "base",
    "weights": "base plan kernels io",
    "state": "base plan kernels io",
    "data": "base io text",
    "engine": "base plan kernels io text weights state",
    "train": "base plan kernels io text weights data",
    "eval": "base plan kernels io text weights state data engine",
    "cli": "base plan kernels io text weights state data engine train eval",
}
TORCH_FOLDER = "train"
TORCH_HEADERS = ("ATen/", "c10/", "torch/")
SUFFIXES = {".h", ".cc", ".cu", ".cuh"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
OPENMP = re.compile(r'^\s*(#\s*pragma\s+omp\b|#\s*include\s*[<"]omp\.h[>"])|_Pragma\s*\(\s*"omp\b')


def problem_of_include(folder: str, quote: str, header: str) -> str | None:
    """What is wrong with one include of a file in `folder`; None if nothing is."""
    first = header.split("/")[0]
    if header.startswith(TORCH_HEADERS):
        if folder != TORCH_FOLDER:
            return f"includes LibTorch's {header}, which only src/{TORCH_FOLDER} may"
        return None
    if quote == "<":
        if first in ALLOWED and "/" in header:
            return f'includes <{header}>; our own headers are written "{header}"'
        return None
    if "/" not in header or first in (".", ".."):
        return f'includes "{header}"; our own headers are named from src/, as "{folder}/..."'
    if first not in ALLOWED:
        return f'includes "{header}", and "{first}" is no folder of src/; other libraries are written <{header}>'
    if first != folder and first not in ALLOWED[folder].split():
        allowed = ALLOWED[folder] or "nothing else"
        return f'includes "{header}"; src/{folder} may include {allowed}'
    return None


def problems_of_file(folder: str, text: str) -> list[tuple[int, str]]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if OPENMP.search(line):
            found.append((number, "uses OpenMP; threads come from base/parallel.h"))
        elif match := INCLUDE.match(line):
            if problem := problem_of_include(folder, match[1], match[2]):
                found.append((number, problem))
    return found


def check(src: Path) -> tuple[int, list[str]]:
    """The number of files read, and one line for each problem."""
    files, problems = 0, []
    for path in sorted(src.rglob("*")):
        if path.suffix not in SUFFIXES:
            continue
        files += 1
        relative = path.relative_to(src)
        folder = relative.parts[0]
        if len(relative.parts) < 2 or folder not in ALLOWED:
            problems.append(f"{relative}: lies in no folder that docs/architecture.md lists")
            continue
        for number, problem in problems_of_file(folder, path.read_text(encoding="utf-8")):
            problems.append(f"{relative}:{number}: {problem}")
    return files, problems


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    files, problems = check(Path(sys.argv[1]))
    for problem in problems:
        print(problem)
    print(f"{files} files read, {len(problems)} problems")
    return 0 if files > 0 and not problems else 1


if __name__ == "__main__":
    sys.exit(main())
