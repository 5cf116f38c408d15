"""What a study found: losses model by model, and each comparison beside the paper's."""

import math
from dataclasses import dataclass
from statistics import mean

from small_study.runs import Result, Run
from small_study.study import Comparison, Length, Study

AS_PUBLISHED, OPPOSITE, NOT_RESOLVED = "as published", "opposite", "not resolved at this size"
Losses = dict[int, float]  # by seed


def spread(losses: list[float]) -> float:
    """The highest less the lowest."""
    return max(losses) - min(losses)


@dataclass
class Judgement:
    seeds: int
    gap: float  # mean loss of `higher` less that of `lower`
    spread: float  # the larger of the two models'
    verdict: str


def judge(lower: Losses, higher: Losses) -> Judgement | None:
    """By the seeds that both models have; None if there is none.

    Resolved is a gap that is larger than the spread of either model's losses over at least two seeds.
    """
    seeds = sorted(lower.keys() & higher.keys())
    if not seeds:
        return None
    both = [[losses[seed] for seed in seeds] for losses in (lower, higher)]
    gap, widest = mean(both[1]) - mean(both[0]), max(map(spread, both))
    # Written so that losses that are no numbers resolve nothing.
    resolved = len(seeds) > 1 and abs(gap) > widest and not any(map(math.isnan, both[0] + both[1]))
    verdict = (AS_PUBLISHED if gap > 0 else OPPOSITE) if resolved else NOT_RESOLVED
    return Judgement(len(seeds), gap, widest, verdict)


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def with_spread(losses: list[float]) -> str:
    if not losses:
        return "-"
    return f"{mean(losses):.4f}" + (f" ({spread(losses):.4f})" if len(losses) > 1 else "")


class Findings:
    """Results of finished runs, by model and seed; those that were written down elsewhere where there is no run."""

    def __init__(self, study: Study, runs: list[Run], written: dict[tuple[str, int], Result]):
        self._study = study
        self._lengths: dict[str, Length] = {run.model: run.length for run in runs}
        self._results: dict[str, dict[int, Result]] = {model: {} for model in self._lengths}
        for run in runs:
            result = run.result() or written.get((run.model, run.seed))
            if result is not None:
                self._results[run.model][run.seed] = result

    def losses(self, model: str, key: str) -> Losses:
        return {seed: getattr(result, key) for seed, result in self._results[model].items()}

    def models(self) -> str:
        rows = []
        for model, length in self._lengths.items():
            rows.append(
                [
                    model,
                    str(len(self._results[model])),
                    with_spread(list(self.losses(model, "nll").values())),
                    with_spread(list(self.losses(model, "nll_threshold").values())),
                    f"{length.parameters:,}",
                    f"{length.non_embedding:,}",
                    f"{length.flops_per_token / 1e6:.3f}",
                    f"{length.steps:,}",
                    f"{length.tokens:,}",
                ]
            )
        header = ["model", "seeds", "loss (spread)", "causal (spread)", "parameters", "without embedding"]
        return markdown([*header, "MFLOP/token", "steps", "tokens"], rows)

    def comparisons(self) -> str:
        rows = []
        for comparison in self._study.comparisons:
            if {comparison.lower, comparison.higher} <= self._lengths.keys():
                rows.append(self._comparison(comparison))
        header = ["the paper: lower", "higher", "its losses", "where", "gap", "spread", "seeds", "verdict"]
        return markdown([*header, "causal gap", "causal verdict"], rows)

    def _comparison(self, comparison: Comparison) -> list[str]:
        low, high = comparison.published
        cells = [comparison.lower, comparison.higher, f"{low:.4f} < {high:.4f}"]
        cells.append(f"{comparison.source}: {comparison.setting}")
        for key in ("nll", "nll_threshold"):
            found = judge(self.losses(comparison.lower, key), self.losses(comparison.higher, key))
            if found is None:
                cells += ["-", "-", "0", "not run"] if key == "nll" else ["-", "not run"]
            elif key == "nll":
                cells += [f"{found.gap:+.4f}", f"{found.spread:.4f}", str(found.seeds), found.verdict]
            else:
                cells += [f"{found.gap:+.4f}", found.verdict]
        return cells

    def text(self) -> str:
        return (
            f"{self._study.budget.words()}; loss: validation, in nats a token, mean over\nseeds, (highest less lowest), "
            f"routing as in training; causal: routing that looks at no later token.\n\n{self.models()}\n"
            f"{self.comparisons()}"
        )
