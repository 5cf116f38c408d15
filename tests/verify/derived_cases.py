#!/usr/bin/env python3
"""`fathom verify` of cases of kinds that no recorded one is of, made of those: derived_cases.py FATHOM FIXTURES HALF.

HALF is both, or engine where there is no trainer."""

import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors_files import read_safetensors, write_safetensors

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")


def expect(what, holds, seen):
    if not holds:
        print(f"{what}: {seen}")
        sys.exit(1)


class Cases:
    def __init__(self, fathom: str, fixtures: Path, folder: Path, half: str):
        self.fathom, self.fixtures, self.folder, self.half = fathom, fixtures, folder, half

    def copy(self, name: str, new_name: str) -> Path:
        shutil.copytree(self.fixtures / name, self.folder / new_name)
        return self.folder / new_name

    def run(self, case: Path, *flags: str):
        """Exit code and report."""
        half = ["--only", "engine"] if self.half == "engine" and "--only" not in flags else []
        run = subprocess.run([self.fathom, "verify", "--json", *half, *flags, str(case)], capture_output=True, text=True)
        (report,) = json.loads(run.stdout)
        return run.returncode, report

    def verify(self, case: Path, *flags: str):
        """Exit code, findings by tensor, notes."""
        code, report = self.run(case, *flags)
        expect(case.name, "error" not in report, report.get("error"))
        return code, {f["tensor"]: f for f in report["findings"]}, " ".join(report.get("notes", []))

    def engine(self, case: Path):
        return self.verify(case, "--only", "engine")


def change_json(path: Path, change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def change_tensors(path: Path, change) -> None:
    write_safetensors(path, change(read_safetensors(path)))


def keep_embedding(case: Path) -> None:
    """Weights that are not the recorded ones have no recorded logits."""
    change_tensors(case / "io.safetensors", lambda io: {name: io[name] for name in ("input_ids", "hidden.0")})


def left_padding(cases: Cases) -> None:
    """Keys of the first layer depend on a token and its place alone: padding in front of them changes none."""
    case = cases.copy("decode_vanilla", "vanilla_left_padding")

    def pad(io):
        kept = {name: io[name] for name in ("input_ids", "cache.key.0", "cache.value.0")}
        rows, length = io["input_ids"][1]
        mask = [0 if row == 1 and place < 4 else 1 for row in range(rows) for place in range(length)]
        return kept | {"attention_mask": ("I64", [rows, length], mask)}

    change_tensors(case / "io.safetensors", pad)
    seen = cases.engine(case)
    lines = {"cache.key.0", "cache.value.0", "entries of cache 0"}
    expect("caches behind left padding", seen[0] == 0 and lines <= seen[1].keys(), seen)


def warmup_forward(cases: Cases) -> None:
    """One forward pass under a warm-up is the first call; evaluation is compared with its own logits alone."""
    case = cases.copy("mor_expert_capacity_warmup", "mor_expert_warm")
    change_json(case / "case.json", lambda record: record.pop("calls"))

    def first_call(io):
        kept = {name: io[name] for name in ("input_ids", "labels", "eval.logits")}
        first = {name.removeprefix("call1."): value for name, value in io.items() if name.startswith("call1.")}
        state = ("F32", [2, 24, 32], [0.0] * (2 * 24 * 32))
        return kept | first | {"hidden.0": state}

    change_tensors(case / "io.safetensors", first_call)
    code, findings, notes = cases.verify(case)
    expect("a forward pass under a warm-up", code == 0 and "eval.logits" in findings, (code, findings))
    expect("a note of what is not compared", "hidden.0" in notes, notes)
    if cases.half == "both":
        for name in ("logits", "router.1.selected", "router.1.weights"):
            expect(name, findings[name]["executor"] == "train", findings[name])


def masked_labels(cases: Cases) -> None:
    """Losses of a router are divided by the labels that count over all places."""
    case = cases.copy("mor_token_mlp_additive_zloss_accum", "mor_token_masked")

    def mask(io):
        dtype, shape, labels = io["labels"]
        labels = [label if i % 3 else -100 for i, label in enumerate(labels)]
        counted = sum(label != -100 for label in labels)
        factor = len(labels) / counted  # what they were divided by over what they are
        scaled = ("balancing_loss", "router_z_loss")
        new = {"labels": (dtype, shape, labels)}
        for name, (kind, extents, values) in io.items():
            if name.endswith(scaled):
                new[name] = (kind, extents, [value * factor for value in values])
            elif name not in new and not name.startswith(("grad.", "scalar.")):
                new[name] = (kind, extents, values)
        return new

    change_tensors(case / "io.safetensors", mask)

    def count(record):
        record.pop("scalars")
        labels = read_safetensors(case / "io.safetensors")["labels"][2]
        counted = sum(label != -100 for label in labels)
        record["num_items_in_batch"] = counted * record["accumulation_A"]

    change_json(case / "case.json", count)
    code, findings, _ = cases.verify(case)
    expect("masked labels", code == 0, findings)
    # The number that was recorded is what counts.
    change_json(case / "case.json", lambda record: record.update(num_items_in_batch=999))
    if cases.half == "both":
        expect("a wrong number of items", cases.verify(case)[0] == 1, findings)
    if cases.half == "both":
        expect("a scaled loss", findings["scalar.router_z_loss"]["executor"] == "train", findings)


def random_rule(cases: Cases) -> None:
    """Layers drawn by another generator are found in the weights, if they ascend."""
    for ascending in (True, False):
        case = cases.copy("init_average_middle_cycle_nr2", f"init_random_{ascending}")
        change_json(
            case / "config.json", lambda config: config["authors_config"]["recursive"].update(initialization="random")
        )
        source = read_safetensors(case / "source.safetensors")
        drawn = (1, 3) if ascending else (3, 1)

        def fill(weights):
            for shared, layer in zip((1, 2), drawn):
                for name in weights:
                    prefix = f"model.layers.{shared}."
                    if name.startswith(prefix):
                        weights[name] = source[name.replace(prefix, f"model.layers.{layer}.")]
            return weights

        change_tensors(case / "weights.safetensors", fill)
        keep_embedding(case)
        code, report = cases.run(case, "--only", "engine")
        found = code == 0 if ascending else "each behind the one before" in report.get("error", "")
        expect(f"layers drawn, ascending: {ascending}", found, report)


def routed_start(cases: Cases) -> None:
    """Routers are drawn; attention of expert choice may have been made anew."""
    draw = random.Random(3)
    case = cases.copy("mor_expert_nr2", "init_stepwise_mor")
    change_json(
        case / "config.json", lambda config: config["authors_config"]["recursive"].update(initialization="stepwise")
    )
    keep_embedding(case)
    routed = read_safetensors(case / "weights.safetensors")
    source = {name: routed[name] for name in ("model.embed_tokens.weight", "model.norm.weight")}
    # stepwise: layers 1 and 4 of six.
    for layer, block in enumerate(("0.", "1.block.0.", "1.block.0.", "1.block.1.", "1.block.1.", "3.")):
        for name, (dtype, shape, values) in routed.items():
            prefix = f"model.layers.{block}"
            if not name.startswith(prefix):
                continue
            other = [-value for value in values] if layer in (2, 3) else values
            source[name.replace(prefix, f"model.layers.{layer}.")] = (dtype, shape, other)
    write_safetensors(case / "source.safetensors", source)

    def with_router(deviation, attention=None):
        weights = dict(routed)
        for name, (dtype, shape, values) in routed.items():
            if "mor_router" in name:
                weights[name] = (dtype, shape, [draw.gauss(0, deviation) for _ in values])
            elif attention is not None and ".block." in name and any(p in name for p in PROJECTIONS):
                weights[name] = (dtype, shape, [attention() for _ in values])
        write_safetensors(case / "weights.safetensors", weights)
        return cases.engine(case)

    seen = with_router(0.02)
    expect("a fresh router", seen[0] == 0, seen)
    seen = with_router(0.2)
    expect("a router that is none of this start", seen[0] == 1, seen)
    bound = 1 / 32**0.5
    seen = with_router(0.02, lambda: draw.uniform(-bound, bound))
    expect("attention made anew", seen[0] == 0 and any("attention.q: drawn anew" in name for name in seen[1]), seen)
    seen = with_router(0.02, lambda: draw.uniform(-3 * bound, 3 * bound))
    expect("attention from nowhere", seen[0] == 1, seen)


def reduced_depth(cases: Cases) -> None:
    """One recursion of two layers, described before four others were taken away."""
    case = cases.copy("vanilla_gqa", "recursive_nr1")

    def describe(config):
        config["plain"].update(sharing="cycle", num_recursion=1, base_depth=2)
        config["llama_config"]["num_hidden_layers"] = 6
        config["authors_config"]["recursive"].update(enable=True, num_recursion=1, base_depth=2)

    change_json(case / "config.json", describe)
    # The published class has a head of its own, which here holds the embedding.
    change_tensors(
        case / "weights.safetensors", lambda weights: weights | {"lm_head.weight": weights["model.embed_tokens.weight"]}
    )
    seen = cases.verify(case)
    expect("reduced depth", seen[0] == 0 and "logits" in seen[1], seen)


def hybrids(cases: Cases) -> None:
    """A memory that nobody reads is noted; limits go by what float cost, whatever the key."""
    case = cases.copy("variant_transformer", "variant_with_memory")
    memory = ("F32", [2, 24, 32], [0.0] * (2 * 24 * 32))
    change_tensors(case / "io.safetensors", lambda io: io | {"gmu_memory": memory})

    def cost(record):
        record.pop("fp32_vs_fp64")
        record["max_abs_difference"] = {"logits_fp32_vs_fp64": 5e-5}

    change_json(case / "case.json", cost)
    code, findings, notes = cases.verify(case)
    expect("a memory that nobody reads", code == 0 and "gmu_memory" in notes, (code, notes))
    for name in ("logits", "hidden.1"):
        expect(f"the limit of {name}", abs(findings[name]["limit"] - 5e-4) < 1e-9, findings[name])


def hybrid_records(cases: Cases) -> None:
    """Kinds of layers and factors that a record says are compared."""
    changes = {
        "nothing": lambda record: None,
        "a window": lambda record: record["layers"].__setitem__(1, "attention window=60"),
        "a factor": lambda record: record["scales"].update(residual_branch_scale=0.5),
    }
    for what, change in changes.items():
        case = cases.copy("variant_samba", f"variant_wrong_{what.replace(' ', '_')}")
        change_json(case / "case.json", change)
        code, findings, _ = cases.verify(case)
        expect(f"a record with {what} wrong", code == (0 if what == "nothing" else 1), findings)


def documents_in_rows(cases: Cases) -> None:
    """Rows are cut where the model's configuration says so, whether a record lists the pieces or not."""
    case = cases.copy("varlen_transformer", "varlen_unlisted")
    change_json(case / "case.json", lambda record: record.pop("segments"))
    code, findings, _ = cases.verify(case)
    expect("a row of documents", code == 0 and findings["logits"]["ok"], findings)
    change_json(case / "config.json", lambda config: config.update(use_cu_seqlen=False))
    code, findings, _ = cases.verify(case)
    expect("a row that is not cut", code == 1 and not findings["logits"]["ok"], findings)


def no_window(cases: Cases) -> None:
    """A local_window of -1 is none: what is recorded of short rows with a window is not what is computed."""
    case = cases.copy("variant_samba", "variant_without_window")
    change_json(case / "config.json", lambda config: config.update(local_window=-1))
    change_json(case / "case.json", lambda record: record.update(layers=["mamba", "attention"] * 2))
    _, findings, _ = cases.verify(case)
    expect("kinds of layers", findings["case.json: kinds of layers (4 compared)"]["ok"], findings)
    expect("logits without a window", not findings["logits"]["ok"], findings)


def documents_in_steps(cases: Cases) -> None:
    """Rows of optimizer steps are cut likewise: the first losses differ from those of whole rows."""
    case = cases.copy("optimizer_mup_original", "optimizer_of_documents")
    change_json(case / "config.json", lambda config: config.update(use_cu_seqlen=True, eos_token_id=10**6))
    _, findings, _ = cases.verify(case)
    expect("rows without an end", findings["losses of step 0"]["ok"], findings)
    (_, shape, ids) = read_safetensors(case / "io.safetensors")["input_ids"]
    inside = ids[shape[2] // 2]
    change_json(case / "config.json", lambda config: config.update(eos_token_id=inside))
    _, findings, _ = cases.verify(case)
    expect("rows of documents", not findings["losses of step 0"]["ok"], findings)


def labels_of_steps(cases: Cases) -> None:
    """Labels that a training case records are those that count."""
    for ignored in (False, True):
        case = cases.copy("train_vanilla", f"train_vanilla_labels_{ignored}")

        def label(io):
            dtype, shape, ids = io["input_ids"]
            return io | {"labels": (dtype, shape, [-100] * len(ids) if ignored else ids)}

        change_tensors(case / "io.safetensors", label)
        code, findings, _ = cases.verify(case)
        expect(f"recorded labels, ignored: {ignored}", code == (1 if ignored else 0), findings)


def one_group(cases: Cases) -> None:
    """A single group of parameters decays as a whole, norms too."""
    case = cases.copy("train_vanilla", "train_vanilla_one_group")

    def merge(record):
        first, *others = record["parameter_groups"]
        for group in others:
            first["names"] += group["names"]
        first["weight_decay"] = 0.1
        record["parameter_groups"] = [first]
        record["learning_rate_per_step_and_group"] = [r[:1] for r in record["learning_rate_per_step_and_group"]]

    change_json(case / "case.json", merge)
    _, findings, _ = cases.verify(case)
    expect("decay of one group", findings["weight decay of every parameter"]["ok"], findings)


def first_call_with_gradients(cases: Cases) -> None:
    """What was recorded of a first call beside its `call1` is compared, too."""
    case = cases.copy("mor_expert_capacity_warmup", "mor_expert_calls_and_gradients")
    wrong = ("F32", [32], [1.0] * 32)
    change_tensors(case / "io.safetensors", lambda io: io | {"grad.model.norm.weight": wrong})
    code, findings, _ = cases.verify(case)
    expect("a gradient beside calls", code == 1 and not findings["grad.model.norm.weight"]["ok"], findings)
    expect("tokens kept in a call", findings["call1 k"]["ok"], findings)


def mask_in_float(cases: Cases) -> None:
    case = cases.copy("vanilla_padding_mask", "vanilla_float_mask")

    def to_float(io):
        _, shape, mask = io["attention_mask"]
        return io | {"attention_mask": ("F32", shape, [float(bit) for bit in mask])}

    change_tensors(case / "io.safetensors", to_float)
    code, report = cases.run(case)
    expect("a mask that is not of integers", code == 1 and "must be integers" in report.get("error", ""), report)


def decoding_alone(cases: Cases) -> None:
    """A decoding case without the logits of one call over all tokens."""
    case = cases.copy("decode_vanilla", "decode_vanilla_short")
    change_tensors(
        case / "io.safetensors", lambda io: {name: io[name] for name in io if name != "full_forward.logits"}
    )
    seen = cases.engine(case)
    expect("decoding alone", seen[0] == 0 and {"prefill.logits", "decode.logits"} <= seen[1].keys(), seen)


def checkpoint_of_copies(cases: Cases) -> None:
    """Ties whose tensors are stored once for each name are ties, and a case may hold nothing but such a file."""
    for damaged in (False, True):
        case = cases.copy("mor_expert_nr2", f"checkpoint_copies_{damaged}")
        aliases = json.loads((case / "case.json").read_text())["aliases"]
        weights = read_safetensors(case / "weights.safetensors")
        copies = weights | {alias: weights[name] for alias, name in aliases.items()}
        if damaged:
            dtype, shape, values = copies["lm_head.weight"]
            copies["lm_head.weight"] = (dtype, shape, [values[0] + 1, *values[1:]])
        write_safetensors(case / "model.safetensors", copies)
        record = {"model_safetensors": {"names": len(copies), "missing": []}}
        change_json(case / "case.json", lambda content: content.update(files=record))
        if not damaged:
            (case / "weights.safetensors").unlink()
        code, report = cases.run(case, "--only", "engine")
        expect(f"copies of tied weights, damaged: {damaged}", code == (1 if damaged else 0), report)


def mixed_up_batch(cases: Cases) -> None:
    """What the published code makes of a batch that it mixes up is noted."""
    case = cases.copy("vanilla_gqa", "vanilla_as_released")
    logits = ("F32", [2, 24, 97], [0.0] * (2 * 24 * 97))
    change_tensors(case / "io.safetensors", lambda io: io | {"as_released.logits": logits})
    code, _, notes = cases.engine(case)
    expect("logits as released", code == 0 and "as_released.logits is not compared" in notes, (code, notes))


def main() -> int:
    fathom, fixtures, half = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    with tempfile.TemporaryDirectory() as temporary:
        cases = Cases(fathom, fixtures, Path(temporary), half)
        for check in (
            left_padding,
            warmup_forward,
            masked_labels,
            random_rule,
            routed_start,
            reduced_depth,
            hybrids,
            mixed_up_batch,
            hybrid_records,
            documents_in_rows,
            no_window,
            mask_in_float,
            decoding_alone,
            checkpoint_of_copies,
        ):
            check(cases)
        training = (labels_of_steps, one_group, first_call_with_gradients, documents_in_steps)
        for check in training if half == "both" else ():
            check(cases)
    return 0


if __name__ == "__main__":
    sys.exit(main())
