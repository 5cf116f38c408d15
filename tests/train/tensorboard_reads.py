"""The event files of a run that was resumed, read by TensorBoard itself and compared with metrics.csv.

Exits with 77, which ctest reports as skipped, when the Python package `tensorboard` is not installed.
"""

import argparse
import csv
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def use_installed_tensorboard():
    """Continues in .deps/venv if this interpreter lacks `tensorboard`."""
    if importlib.util.find_spec("tensorboard"):
        return
    venv = ROOT / ".deps" / "venv" / "bin" / "python"
    if venv.exists() and pathlib.Path(sys.prefix).resolve() != venv.parent.parent.resolve():
        os.execv(venv, [str(venv), *sys.argv])
    print("skipped: the Python package `tensorboard` is not installed, neither here nor in .deps/venv")
    sys.exit(SKIPPED)


def train(fathom, folder, *more):
    (folder / "text.txt").write_text("the cat sat on the mat and looked at the moon. " * 300)
    model = (ROOT / "configs/models/tiny/mor-middle_cycle-nr3.toml").read_text()
    (folder / "model.toml").write_text(model.replace("vocab_size = 97", "vocab_size = 257"))
    (folder / "recipe.toml").write_text(
        'model = "model.toml"\n[data]\ntrain = "{0}"\nvalid = "{0}"\nsequence_length = 32\n'
        "[train]\nsteps = 8\nrows = 2\neval_rows = 4\nsave_every = 3\nthreads = 1\n".format(folder / "text.txt"))
    subprocess.run([fathom, "train", folder / "recipe.toml", "--out", folder / "run", "--quiet", *more], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fathom", required=True)
    fathom = parser.parse_args().fathom
    use_installed_tensorboard()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        train(fathom, folder, "--train.steps=5", "--schedule.total_steps=8")
        shutil.rmtree(folder / "run/checkpoint-5")  # as if it had been killed in its sixth step
        train(fathom, folder, "--resume")
        events = EventAccumulator(str(folder / "run"))
        events.Reload()
        compared = 0
        with open(folder / "run/metrics.csv", newline="") as table:
            rows = list(csv.DictReader(table))
        for tag in events.Tags()["scalars"]:
            column = tag.split("/")[1]
            expected = [(int(row["step"]), float(row[column])) for row in rows if row[column]]
            found = [(event.step, event.value) for event in events.Scalars(tag)]
            assert [step for step, _ in found] == [step for step, _ in expected], (tag, found, expected)
            for (step, value), (_, wanted) in zip(found, expected):
                assert abs(value - wanted) <= 1e-6 * abs(wanted), (tag, step, value, wanted)
                compared += 1
        tags = set(events.Tags()["scalars"])
        assert {"train/loss", "router/kept_3", "validation/nll", "validation/mean_depth"} <= tags, tags
        print(f"{compared} values of {len(tags)} tags are as in metrics.csv")


main()
