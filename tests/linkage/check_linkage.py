#!/usr/bin/env python3
"""Fails when a program loads what it must not, or does not start.

usage: check_linkage.py PROGRAM FORBIDDEN...

Reads `ldd PROGRAM`; FORBIDDEN are parts of library names. A library that is not found is a failure too.
"""

import subprocess
import sys


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    program, forbidden = sys.argv[1], sys.argv[2:]
    libraries = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.splitlines()
    wrong = [line.strip() for line in libraries if "not found" in line or any(part in line for part in forbidden)]
    for line in wrong:
        print(f"{program} loads {line}")
    print(f"{len(libraries)} libraries, {len(wrong)} that must not be")
    # Every program loads the C library: its absence means that ldd's words were not understood.
    return 0 if not wrong and any("libc.so" in line for line in libraries) else 1


if __name__ == "__main__":
    sys.exit(main())
