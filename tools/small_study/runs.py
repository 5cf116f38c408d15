"""The runs of a study in a folder: a directory each, which says by itself how far the run is."""

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from small_study import Refusal
from small_study.study import Length, Study

ANSWERS = "phonebook.json"  # in the directory of a run: what `fathom eval` wrote


@dataclass
class Result:
    """Validation losses after the last step, in nats a token."""

    nll: float  # routing as in training, as the paper measures
    nll_threshold: float  # causal routing
    phonebook: float | None = None  # of models of phonebooks: the share of numbers found


@dataclass
class Run:
    model: str
    seed: int
    directory: Path
    length: Length
    answers: bool  # a model of phonebooks

    @property
    def name(self) -> str:
        return f"{self.model}-seed{self.seed}"

    def steps_done(self) -> int:
        """Steps of the last checkpoint."""
        found = [re.fullmatch(r"checkpoint-(\d+)", path.name) for path in self.directory.glob("checkpoint-*")]
        return max((int(match[1]) for match in found if match), default=0)

    def trained(self) -> Result | None:
        """None while its last step has no checkpoint or no evaluation."""
        if self.steps_done() < self.length.steps:
            return None
        return final_result(self.directory / "metrics.jsonl", self.length.steps)

    def result(self) -> Result | None:
        """None while the run is not finished: not trained, or a model of phonebooks that nobody has asked."""
        result = self.trained()
        if result is not None and self.answers:
            result.phonebook = share_right(self.directory / ANSWERS)
            return None if result.phonebook is None else result
        return result


def final_result(log: Path, steps: int) -> Result | None:
    try:
        entries = [json.loads(line) for line in log.read_text().splitlines() if '"evaluation"' in line]
    except OSError as error:
        raise Refusal(f"{log}: {error.strerror}") from error
    except ValueError as error:
        raise Refusal(f"{log}: {error}") from error
    for entry in reversed(entries):
        if entry.get("kind") == "evaluation" and entry.get("step") == steps:
            # A loss that is no number is null in the log.
            losses = [entry.get(key) for key in ("nll", "nll_threshold")]
            return Result(*(math.nan if loss is None else float(loss) for loss in losses))
    return None


def share_right(answers: Path) -> float | None:
    """None: not asked yet."""
    if not answers.exists():
        return None
    try:
        return float(json.loads(answers.read_text())["results"]["phonebook"]["exact_match,none"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{answers}: expected what `fathom eval --tasks phonebook --output` writes") from error


def read_results(path: Path, lengths: dict[str, Length]) -> dict[tuple[str, int], Result]:
    """Results that were written down, by model and seed; those of models that are not asked for are left out."""
    results = {}
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            model, seed, steps = str(entry["model"]), int(entry["seed"]), int(entry["steps"])
            losses = [entry[key] for key in ("nll", "nll_threshold")]
            result = Result(*(math.nan if loss is None else float(loss) for loss in losses))
            result.phonebook = float(entry["phonebook"]) if "phonebook" in entry else None
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(
                f"{path}, line {number}: expected an object with model, seed, steps, nll, nll_threshold"
            ) from error
        if model not in lengths:
            continue
        if steps != lengths[model].steps:
            raise Refusal(f"{path}, line {number}: {model} after {steps} steps, where this study has {lengths[model].steps}")
        if (model, seed) in results:
            raise Refusal(f"{path}, line {number}: a second result of {model} with seed {seed}")
        results[model, seed] = result
    return results


def write_results(path: Path, runs: list[Run]) -> int:
    """A line for every finished run, and where it was trained; how many there are."""
    lines = []
    for run in runs:
        result = run.result()
        if result is None:
            continue
        about = run.directory / "run.json"
        try:
            made = json.loads(about.read_text())
            where = {key: made[key] for key in ("commit", "processor", "instruction_set")}
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(f"{about}: expected an object with commit, processor and instruction_set") from error
        found = {key: value for key, value in vars(result).items() if value is not None}
        found = {key: None if math.isnan(value) else value for key, value in found.items()}
        lines.append({"model": run.model, "seed": run.seed, "steps": run.length.steps, **found, **where})
    write_atomic(path, "".join(json.dumps(line) + "\n" for line in lines).encode())
    return len(lines)


def list_runs(
    study: Study, groups: list[list[str]], seeds: list[int], out: Path, lengths: dict[str, Length]
) -> list[Run]:
    """Group by group, seed by seed; each run once."""
    runs: dict[tuple[str, int], Run] = {}
    for models in groups:
        for seed in seeds:
            for model in models:
                directory = out / f"{model}-seed{seed}"
                runs.setdefault((model, seed), Run(model, seed, directory, lengths[model], study.answers(model)))
    return list(runs.values())


def write_atomic(path: Path, contents: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + f".tmp-{os.getpid()}")
    beside.write_bytes(contents)
    beside.replace(path)


def is_pinned(path: Path, values) -> bool:
    """Whether a folder says that its runs were made with `values`; one that says something else is refused."""
    if not path.exists():
        return False
    if path.read_text() != pinned_text(values):
        raise Refusal(f"{path} says that the runs there were made with something else; choose another --out")
    return True


def pin(path: Path, values) -> None:
    if not is_pinned(path, values):
        write_atomic(path, pinned_text(values).encode())


def pinned_text(values) -> str:
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def study_pins(out: Path, study: Study, models: list[str]) -> dict[Path, dict]:
    """What is pinned of a study, by file: its budget and recipe, and its models as specifications."""
    pins = {spec_path(out, name): study.models[name] for name in models}
    pins |= {overrides_path(out, name): study.overrides[name] for name in models if study.overrides[name]}
    whole = {study.budget.kind: study.budget.amount, "recipe": study.recipe.read_text()}
    if study.phonebook:
        whole["phonebook"] = vars(study.phonebook)
    return pins | {out / "study.json": whole}


def overrides_path(out: Path, model: str) -> Path:
    return out / "models" / f"{model}.recipe.json"


def spec_path(out: Path, model: str) -> Path:
    return out / "models" / f"{model}.json"
