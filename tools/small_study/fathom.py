"""The program `fathom`, started and listened to."""

import math
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

from small_study import Refusal

ROOT = Path(__file__).resolve().parent.parent.parent
INTERRUPTED = (130, -signal.SIGINT)  # exit codes after a clean stop, and before it could take the signal
POLL_SECONDS = 0.1


def ask(program: Path, words: list[str]) -> str:
    """What a command prints. It runs in the repository, whose paths recipes name."""
    try:
        done = subprocess.run([program, *words], capture_output=True, text=True, cwd=ROOT, check=False)
    except OSError as error:
        raise Refusal(f"{program} does not start: {error.strerror}") from error
    if done.returncode != 0:
        raise Refusal(done.stderr.strip() or f"fathom {words[0]} ended with exit code {done.returncode}")
    return done.stdout


def seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def seconds_of(process: subprocess.Popen) -> float:
    """Seconds of processor time that a process which still runs has taken."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Trainer:
    """Trains and asks one run at a time. SIGINT and SIGTERM are passed on, so that it writes its checkpoint, and kept."""

    def __init__(self, program: Path):
        self.program = program
        self.interrupts = 0
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, self._note_interrupt)

    def _note_interrupt(self, *_) -> None:
        self.interrupts += 1

    def train(self, words: list[str], most_seconds: float = math.inf) -> tuple[bool, float]:
        return self._run(["train", *words], most_seconds)

    def evaluate(self, words: list[str]) -> tuple[bool, float]:
        return self._run(["eval", *words], math.inf, stdout=subprocess.DEVNULL)

    def _run(self, words: list[str], most_seconds: float, stdout=None) -> tuple[bool, float]:
        """Whether a command came to its end, and its processor time; it is stopped once it took `most_seconds`."""
        before, passed_on, spent = seconds_of_children(), 0, False
        # A session of its own: a Ctrl-C of the terminal reaches it by the loop alone, not twice.
        process = subprocess.Popen([self.program, *words], cwd=ROOT, start_new_session=True, stdout=stdout)
        while process.poll() is None:
            spent = spent or seconds_of(process) >= most_seconds
            if passed_on < self.interrupts + spent:
                process.send_signal(signal.SIGINT)
                passed_on += 1
            time.sleep(POLL_SECONDS)
        taken = seconds_of_children() - before
        if process.returncode not in (0, *INTERRUPTED):
            raise Refusal(f"fathom {' '.join(words)} ended with exit code {process.returncode}")
        return process.returncode == 0, taken
