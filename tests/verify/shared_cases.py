#!/usr/bin/env python3
"""`fathom verify` of every recorded case of the shared folder: shared_cases.py FATHOM HALF.

The folder is what FATHOM_SHARED names, else ../shared beside the repository. HALF is both, or engine where there is no
trainer."""

import os
import subprocess
import sys
from pathlib import Path

SKIPPED = 77


def main() -> int:
    fathom, half = sys.argv[1:]
    named = os.environ.get("FATHOM_SHARED", "")
    fixtures = (Path(named) if named else Path(__file__).parents[2] / "../shared") / "fixtures"
    if not fixtures.is_dir():
        if named:
            print(f"FATHOM_SHARED: {named} has no folder fixtures")
            return 1
        print(f"skipped: {fixtures} is missing (FATHOM_SHARED names the folder of the published fixtures)")
        return SKIPPED
    families = sorted(str(family) for family in fixtures.iterdir() if family.is_dir())
    only = ["--only", "engine"] if half == "engine" else []
    return subprocess.run([fathom, "verify", *only, *families]).returncode


if __name__ == "__main__":
    sys.exit(main())
