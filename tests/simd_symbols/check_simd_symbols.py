#!/usr/bin/env python3
"""Fails when an object compiled for one instruction-set level could hand its instructions to the others.

usage: check_simd_symbols.py LEVEL OBJECT...

The linker keeps one copy of a weak symbol (an inline function, an instance of a template) for the whole program. Came
that copy from an object compiled for AVX-512, a machine without it would stop on an illegal instruction. So each
object may define, for others to see, nothing but functions of its own level's namespace.
"""

import re
import subprocess
import sys

# nm's letters: weak functions and objects, common and unique symbols; lower case is local to the object, but w and v.
SHARED = set("VvWwCu")
GLOBAL = set("TDBRSGAi")


def problems_of(level: str, listing: str) -> list[str]:
    """Reads what `nm -C` prints. The last entry says so when nothing of the level is defined."""
    problems, own = [], 0
    for line in listing.splitlines():
        match = re.match(r"[0-9a-f ]* ([A-Za-z?]) (.*)", line)
        if not match:
            continue
        letter, name = match.groups()
        defined = letter not in "Uwv"
        if letter in SHARED:
            problems.append(f"weak symbol {name}")
        elif defined and re.search(r"\bstd::|\b__gnu_cxx::", name.split("(")[0]):
            problems.append(f"standard library code {name}")
        elif letter in GLOBAL and f"::{level}::" not in name.split("(")[0]:
            problems.append(f"global symbol outside namespace {level}: {name}")
        elif letter == "T":
            own += 1
    if not own:
        problems.append(f"defines no function of namespace {level}")
    return problems


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    level, objects = sys.argv[1], sys.argv[2:]
    count = 0
    for path in objects:
        listing = subprocess.run(["nm", "-C", path], capture_output=True, text=True, check=True).stdout
        for problem in problems_of(level, listing):
            print(f"{path}: {problem}")
            count += 1
    print(f"{len(objects)} objects of level {level} read, {count} problems")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
