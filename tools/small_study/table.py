"""What a study found: losses model by model, and each comparison beside the paper's."""

import math
from dataclasses import dataclass
from statistics import mean

from small_study.runs import Result, Run
from small_study.study import Comparison, Length, Question, Study

NOT_RESOLVED = "not resolved at this size"
# What a resolved gap is called where it is above 0, and where below.
OF_PAPERS = ("as published", "opposite")
OF_QUESTIONS = ("lower", "higher")
Losses = dict[int, float]  # by seed


def spread(losses: list[float]) -> float:
    """The highest less the lowest."""
    return max(losses) - min(losses)


@dataclass
class Judgement:
    seeds: int
    gap: float  # mean loss of `higher` less that of `lower`
    spread: float  # the larger of the two models'
    resolved: bool

    def verdict(self, words: tuple[str, str]) -> str:
        return words[self.gap < 0] if self.resolved else NOT_RESOLVED


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
    return Judgement(len(seeds), gap, widest, resolved)


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
        self._books = any(run.answers for run in runs)
        self._results: dict[str, dict[int, Result]] = {model: {} for model in self._lengths}
        for run in runs:
            result = run.result() or written.get((run.model, run.seed))
            if result is not None:
                self._results[run.model][run.seed] = result

    def losses(self, model: str, key: str) -> Losses:
        found = {seed: getattr(result, key) for seed, result in self._results[model].items()}
        return {seed: value for seed, value in found.items() if value is not None}

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
                    f"{length.decode_bytes / 1e6:.3f}",
                    f"{length.steps:,}",
                    f"{length.tokens:,}",
                ]
            )
            if self._books:
                rows[-1].append(with_spread(list(self.losses(model, "phonebook").values())))
        header = ["model", "seeds", "loss (spread)", "causal (spread)", "parameters", "without embedding"]
        header += ["MFLOP/token", "MB/decoded token", "steps", "tokens"]
        return markdown(header + ["phonebook (spread)"] * self._books, rows)

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
        pair = (comparison.lower, comparison.higher)
        return cells + self._judged(pair, "nll", OF_PAPERS) + self._causal(pair, OF_PAPERS)

    def questions(self) -> str:
        """Empty where none is about models of the table."""
        rows = []
        for question in self._study.questions:
            pair = (question.first, question.second)
            if not set(pair) <= self._lengths.keys():
                continue
            key = "nll" if question.measure == "loss" else question.measure
            causal = self._causal(pair, OF_QUESTIONS) if key == "nll" else ["-", "-"]
            cells = [*pair, f"{question.text}: {question.measure}"]
            rows.append(cells + self._judged(pair, key, OF_QUESTIONS) + causal)
        header = ["nobody published: first", "second", "what", "gap", "spread", "seeds", "the first is"]
        return "\n" + markdown([*header, "causal gap", "causal: it is"], rows) if rows else ""

    def _judge(self, pair: tuple[str, str], key: str) -> Judgement | None:
        return judge(self.losses(pair[0], key), self.losses(pair[1], key))

    def _judged(self, pair: tuple[str, str], key: str, words: tuple[str, str]) -> list[str]:
        found = self._judge(pair, key)
        if found is None:
            return ["-", "-", "0", "not run"]
        return [f"{found.gap:+.4f}", f"{found.spread:.4f}", str(found.seeds), found.verdict(words)]

    def _causal(self, pair: tuple[str, str], words: tuple[str, str]) -> list[str]:
        found = self._judge(pair, "nll_threshold")
        return ["-", "not run"] if found is None else [f"{found.gap:+.4f}", found.verdict(words)]

    def text(self) -> str:
        books = "\nLosses of models with a figure for phonebook are those of phonebooks." if self._books else ""
        return (
            f"{self._study.budget.words()}; loss: validation, in nats a token, mean over\nseeds, (highest less lowest), "
            f"routing as in training; causal: routing that looks at no later token; MB/decoded token: as\n"
            f"`fathom plan` counts them behind a row less one token, in bf16.{books}\n\n{self.models()}\n"
            f"{self.comparisons()}{self.questions()}"
        )
