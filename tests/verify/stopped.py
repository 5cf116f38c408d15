#!/usr/bin/env python3
"""`fathom verify` that is stopped by Ctrl-C ends between two cases and reports those it did: stopped.py FATHOM FIXTURES."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CASES = 2000


def catches_interrupts(process: subprocess.Popen) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (signal.SIGINT - 1) & 1)


def main() -> None:
    fathom, fixtures = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for case in range(CASES):
            (Path(folder) / f"case{case:04}").symlink_to(Path(fixtures).resolve() / "vanilla_gqa")
        command = [fathom, "verify", folder, "--only", "engine"]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while run.poll() is None and not catches_interrupts(run):
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        out, said = run.communicate()
    summary = (out.splitlines() or [""])[-1]
    done = out.count("\n  passed\n")
    right = (
        run.returncode == 130
        and summary == f"{done} passed, 0 failed, 0 not supported yet, stopped before the others"
        and said == "\nstopping: no further case begins; Ctrl-C again ends at once\n"
    )
    if not right:
        print(f"exit code {run.returncode}, last line {summary!r} behind {done} cases, stderr {said!r}")
        sys.exit(1)


main()
