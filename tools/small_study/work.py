"""The queue: trains what is not finished, within a budget of processor time."""

import json
import tempfile
from pathlib import Path

from small_study import Refusal, fathom, phonebook
from small_study.runs import Run, spec_path
from small_study.study import Study

PROBE_STEPS = (1, 3)


class Costs:
    """Processor seconds a step of each model, from what runs and probes took (costs.jsonl). Only estimates need it."""

    def __init__(self, path: Path):
        self._path = path
        self._lines = []
        if path.exists():
            # A last line without its end was being written when the queue was killed.
            whole = path.read_text().rpartition("\n")[0]
            try:
                self._lines = [json.loads(line) for line in whole.splitlines()]
            except ValueError as error:
                raise Refusal(f"{path}: {error}; without this file costs are estimated anew") from error

    def note(self, model: str, steps: int, seconds: float) -> None:
        if steps <= 0:
            return
        self._lines.append({"model": model, "steps": steps, "cpu_seconds": seconds})
        with open(self._path, "a", encoding="utf-8") as log:
            log.write(json.dumps(self._lines[-1]) + "\n")

    def of_step(self, model: str) -> float | None:
        lines = [line for line in self._lines if line["model"] == model]
        steps = sum(line["steps"] for line in lines)
        return sum(line["cpu_seconds"] for line in lines) / steps if steps else None


class Queue:
    def __init__(self, trainer: fathom.Trainer, study: Study, data: list[str], books: list[str], out: Path):
        """`data`: the recipe's words for the text of most models, `books`: for that of models of phonebooks."""
        self._trainer, self._study, self._data, self._books, self._out = trainer, study, data, books, out
        self._costs = Costs(out / "costs.jsonl")
        self._probed = False

    def _words(self, run: Run) -> list[str]:
        length = run.length
        return [
            str(self._study.recipe),
            *(self._books if run.answers else self._data),
            f"--name={json.dumps(run.name)}",
            f"--model={json.dumps(str(spec_path(self._out, run.model)))}",
            f"--train.seed={run.seed}",
            f"--schedule.total_steps={length.steps}",
            f"--schedule.warmup_steps={length.warmup_steps}",
            f"--schedule.decay_steps={length.decay_steps}",
            *(f"--{key}={json.dumps(value)}" for key, value in self._study.overrides[run.model].items()),
        ]

    def _probe(self, run: Run) -> None:
        """Two runs of a few steps in a folder that goes: what they differ by is the cost of steps. The first probe of
        all begins with a run that does not count, because it brings the program and the text into memory."""
        seconds = []
        uncounted = [] if self._probed else PROBE_STEPS[:1]
        self._probed = True
        for steps in (*uncounted, *PROBE_STEPS):
            with tempfile.TemporaryDirectory() as folder:
                words = [f"--train.steps={steps}", "--train.eval_rows=1", "--quiet", "--out", folder]
                done, taken = self._trainer.train([*self._words(run), *words])
            if not done:
                raise Refusal(f"stopped while the cost of {run.model} was being measured")
            seconds.append(taken)
        steps = PROBE_STEPS[1] - PROBE_STEPS[0]
        self._costs.note(run.model, steps, max(0.0, seconds[-1] - seconds[-2]))

    def hours_left(self, runs: list[Run]) -> list[float]:
        """Estimates of processor hours, run by run."""
        hours = []
        for run in runs:
            if self._costs.of_step(run.model) is None:
                self._probe(run)
            hours.append((run.length.steps - run.steps_done()) * self._costs.of_step(run.model) / 3600)
        return hours

    def work(self, runs: list[Run], hours: float) -> bool:
        """Trains them one after another. False: the budget is spent, or somebody stopped the queue."""
        seconds = 3600 * hours
        for run in runs:
            if seconds <= 0 or self._trainer.interrupts:
                return False
            before = run.steps_done()
            print(f"{run.name}: from step {before} to {run.length.steps}", flush=True)
            words = [*self._words(run), f"--train.steps={run.length.steps}", "--resume", "--out", str(run.directory)]
            done, taken = self._trainer.train(words, seconds)
            seconds -= taken
            self._costs.note(run.model, run.steps_done() - before, taken)
            if not done:
                return False
            result = run.trained()
            if result is None:
                raise Refusal(f"{run.directory} holds no evaluation after step {run.length.steps}")
            print(f"{run.name}: validation loss {result.nll:.4f}", flush=True)
            if run.answers:
                done, taken = self._trainer.evaluate(phonebook.question_words(run.directory, self._study.phonebook))
                seconds -= taken
                if not done:
                    return False
                print(f"{run.name}: {run.result().phonebook:.1%} of the numbers found", flush=True)
        return True
