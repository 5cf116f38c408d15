"""The command that works off and judges a study."""

import argparse
import sys
from pathlib import Path

from small_study import Refusal, fathom, phonebook
from small_study.runs import Run, is_pinned, list_runs, pin, read_results, study_pins, write_results
from small_study.study import Study, read_study
from small_study.table import Findings
from small_study.text import recipe_words
from small_study.work import Queue


def seeds_of(text: str) -> list[int]:
    seeds = [int(word) for word in text.split(",")]
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError
    return seeds


def hours_of(text: str) -> float:
    hours = float(text)
    if not 0 <= hours < float("inf"):
        raise ValueError
    return hours


def say_what_is_left(title: str, runs: list[Run], hours: list[float]) -> None:
    print(f"{title}: {len(runs)} runs, about {sum(hours):.2f} processor hours")
    for run, estimate in zip(runs, hours):
        length = run.length
        print(
            f"  {run.name:<28} step {run.steps_done():>6,} of {length.steps:,}, {length.tokens / 1e6:.2f} M tokens, "
            f"about {estimate:.2f} h"
        )
    sys.stdout.flush()


def work(flags, study: Study, runs: list[Run]) -> int:
    data = recipe_words(flags.text, flags.out)
    books = []
    if any(run.answers for run in runs):
        books = phonebook.recipe_words(flags.fathom, study.phonebook, flags.out)
    trainer = fathom.Trainer(flags.fathom)
    queue = Queue(trainer, study, data, books, flags.out)
    unfinished = [run for run in runs if run.result() is None]
    print(f"finished: {len(runs) - len(unfinished)} of {len(runs)} runs")
    say_what_is_left(f"to do with {flags.cpu_hours:g} processor hours", unfinished, queue.hours_left(unfinished))
    if not queue.work(unfinished, flags.cpu_hours):
        left = [run for run in unfinished if run.result() is None]
        say_what_is_left("stopped; left", left, queue.hours_left(left))
        return fathom.INTERRUPTED[0] if trainer.interrupts else 0
    print("finished: all runs")
    return 0


def draw_curves(flags, command: str, study: Study, runs: list[Run]) -> None:
    """A picture a group, of each model the finished run with the first seed."""
    for name, models in study.groups.items():
        finished = [run for run in runs if run.model in models and run.result() is not None]
        first = {run.model: run for run in reversed(finished)}
        if not first:
            continue
        picture = flags.out / f"{name}.svg"
        curves = [str(first[model].directory) for model in models if model in first]
        fathom.ask(flags.fathom, ["plot", *curves, "--x", "flops", "--title", name, "--out", str(picture)])
        print(f"{command}: drew {picture}", file=sys.stderr)


def main(name: str, description: str) -> int:
    """The command `name`, whose own study is configs/recipes/<name>/study.toml."""
    parser = argparse.ArgumentParser(prog=name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="MODEL-OR-GROUP")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the runs")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--cpu-hours", type=hours_of, help="processor hours that the queue may take")
    what.add_argument("--table", action="store_true", help="print what was found")
    parser.add_argument("--results", type=Path, help="with --table: results written down elsewhere count as well")
    parser.add_argument("--write-results", type=Path, help="with --table: write down those of this folder's runs")
    parser.add_argument("--text", type=Path, help="a folder of .txt files (default: the recipe's own text)")
    parser.add_argument("--seeds", type=seeds_of, default=[1, 2, 3], help="numbers with commas between")
    parser.add_argument("--study", type=Path, default=fathom.ROOT / "configs/recipes" / name / "study.toml")
    parser.add_argument("--fathom", type=Path, default=fathom.ROOT / "build/release/bin/fathom", help="the program")
    flags = parser.parse_args()
    flags.out, flags.fathom = flags.out.resolve(), flags.fathom.resolve()
    try:
        study = read_study(flags.study.resolve())
        groups = study.choose(flags.names)
        models = list(dict.fromkeys(model for group in groups for model in group))
        if not flags.table and (flags.results or flags.write_results):
            raise Refusal("--results and --write-results go with --table")
        lengths = study.lengths(flags.fathom, models)
        runs = list_runs(study, groups, flags.seeds, flags.out, lengths)
        for path, values in study_pins(flags.out, study, models).items():
            (is_pinned if flags.table else pin)(path, values)
        if not flags.table:
            return work(flags, study, runs)
        written = read_results(flags.results, lengths) if flags.results else {}
        print(Findings(study, runs, written).text(), end="")
        if flags.write_results:
            count = write_results(flags.write_results, runs)
            print(f"{name}: wrote {count} results to {flags.write_results}", file=sys.stderr)
        draw_curves(flags, name, study, runs)
        return 0
    except (Refusal, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
