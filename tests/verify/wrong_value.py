#!/usr/bin/env python3
"""`fathom verify` must name the line of each recorded value that is off: wrong_value.py FATHOM FIXTURES HALF.

HALF is both, or engine where there is no trainer."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors_files import read_safetensors, write_safetensors


def off(value):
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else 1.5 * value + 0.01


def change_tensor(name):
    """One value of a tensor of io.safetensors."""

    def change(case: Path):
        path = case / "io.safetensors"
        tensors = read_safetensors(path)
        values = tensors[name][2]
        values[len(values) // 2] = off(values[len(values) // 2])
        write_safetensors(path, tensors)

    return change


def change_last(name):
    """The last value of the first entry of the batch: padding, where that is padded at its end."""

    def change(case: Path):
        path = case / "io.safetensors"
        tensors = read_safetensors(path)
        _, shape, values = tensors[name]
        last = len(values) // shape[0] - 1
        values[last] = off(values[last])
        write_safetensors(path, tensors)

    return change


def append_entries(number, count):
    """More entries of a cache than the sequences have."""

    def change(case: Path):
        path = case / "io.safetensors"
        tensors = read_safetensors(path)
        for name in (f"cache.key.{number}", f"cache.value.{number}"):
            dtype, (batch, heads, entries, dim), values = tensors[name]
            longer = []
            for head in range(batch * heads):
                longer += values[head * entries * dim : (head + 1) * entries * dim] + [0.0] * (count * dim)
            tensors[name] = (dtype, [batch, heads, entries + count, dim], longer)
        write_safetensors(path, tensors)

    return change


def change_json(file, *keys, to=off):
    def change(case: Path):
        path = case / file
        record = json.loads(path.read_text())
        at = record
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = to(at[keys[-1]])
        path.write_text(json.dumps(record))

    return change


def change_byte(file, place):
    def change(case: Path):
        content = bytearray((case / file).read_bytes())
        content[place] ^= 1
        (case / file).write_bytes(content)

    return change


def case_json(*keys):
    return change_json("case.json", *keys)


# A case, the half that sees it, and each change with the start of its line.
WRONG = (
    (
        "decode_vanilla",
        "engine",
        (
            (change_tensor("cache.value.1"), "cache.value.1"),
            (append_entries(0, 3), "entries of cache 0"),
            (case_json("cache_lengths_after_prefill", 0), "entries of caches after the prompt"),
            (case_json("cache_lengths_after_each_step", 2, 1), "entries of caches after step 2"),
            (case_json("parameter_counts", "names_in_state_dict"), "case.json: tensors, values, names"),
        ),
    ),
    (
        "variant_sambay",
        "engine",
        (
            (case_json("parameters"), "case.json: tensors, values, names"),
            (case_json("memory_written_by_layer"), "case.json: layers that others read"),
            (case_json("loss"), "case.json: loss"),
        ),
    ),
    (
        "init_average_middle_cycle_nr2",
        "engine",
        (
            (case_json("lm_head_equals_embedding"), "case.json: lm_head_equals_embedding"),
            (case_json("lm_head_shares_storage"), "case.json: lm_head_shares_storage"),
        ),
    ),
    ("module_mlp", "engine", ((change_tensor("grad_in.x"), "grad_in.x"),)),
    ("module_diff_attention_full", "engine", ((change_tensor("grad.lambda_k1"), "grad.lambda_k1"),)),
    ("packed_data", "engine", ((change_byte("train_demo_0000000000.bin", 40), "ids of the files"),)),
    ("init_rules", "engine", ((change_json("table.json", "rows", 0, "value", 0), "rows of "),)),
    (
        "tables",
        "engine",
        (
            # An error in parts of a peak below zero.
            (change_json("lr_schedules.json", "examples", 0, "learning_rate", to=lambda rate: -rate), "lr_schedules"),
            (change_json("capacity.json", "warmup", 0, "k_from_formula", 0), "capacity.json: tokens kept during"),
            (
                change_json("flops.json", "derived", 0, "steps_in_released_config", to=lambda steps: steps + 2),
                "flops.json: steps of the released",
            ),
        ),
    ),
    (
        "tables_study",
        "engine",
        (
            (change_json("parameter_counts.json", "rows", 1, "kv_heads"), "parameter_counts.json"),
            (change_json("phi4_mini_flash_tensors.json", "tensor_count"), "phi4_mini_flash_tensors.json"),
            (change_json("scaling_fits.json", "flops_fits", 0, "C"), "scaling_fits.json: floors C"),
        ),
    ),
    ("vanilla_gqa", "train", ((change_tensor("grad.model.norm.weight"), "grad.model.norm.weight"),)),
    (
        "vanilla_padding_mask",
        "engine",
        ((change_last("logits"), "logits"), (change_last("hidden.1"), "hidden.1")),
    ),
    ("mor_expert_padding_mask", "train", ((change_last("logits"), "logits"),)),
    ("init_average_middle_cycle_nr2", "train", ((case_json("scalars", "loss_total"), "scalar.loss_total"),)),
    (
        "init_average_middle_cycle_nr2",
        "engine",
        ((case_json("scalars", "eval.loss_mean"), "scalar.eval.loss_mean"),),
    ),
    (
        "mor_expert_capacity_warmup",
        "train",
        (
            (change_tensor("call1.logits"), "call1.logits"),
            (change_tensor("call3.router.1.selected"), "call3.router.1.selected"),
            (case_json("calls", 1, "loss_lm"), "call2 loss_lm"),
        ),
    ),
    (
        "train_vanilla",
        "train",
        (
            (change_tensor("step1.model.norm.weight"), "step1.model.norm.weight"),
            (change_tensor("final.model.embed_tokens.weight"), "final.model.embed_tokens.weight"),
            (case_json("micro_batches", 3, "returned_loss"), "micro3 returned_loss"),
            (case_json("gradient_norms_before_clip", 0), "gradient norm of step 0"),
        ),
    ),
    (
        "optimizer_mup_original",
        "train",
        (
            (change_tensor("after_step1.transformer.ln_f.weight"), "after_step1.transformer.ln_f.weight"),
            (change_tensor("final.lm_head.weight"), "final.lm_head.weight"),
            (case_json("log_fp32", 0, "micro_losses", 0), "losses of step 0"),
            (case_json("log_fp32", 1, "micro_lrs", 0), "learning rates of step 1"),
            (case_json("log_fp32", 2, "group_lrs", 1), "learning rates of groups of step 2"),
        ),
    ),
)


def expect(what, holds, seen):
    if not holds:
        print(f"{what}: {seen}")
        sys.exit(1)


def unmoved_weight(case: Path):
    """A weight said to have no gradient has one: its own is left out, as it is of such weights."""
    path = case / "io.safetensors"
    tensors = read_safetensors(path)
    del tensors["grad.model.norm.weight"]
    write_safetensors(path, tensors)
    change_json("case.json", "parameters_without_gradient", to=lambda _: ["model.norm.weight"])(case)


def main() -> int:
    fathom, fixtures, halves = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    with tempfile.TemporaryDirectory() as temporary:

        def verify(name, half, changes):
            """Exit code and report of a changed copy."""
            case = Path(temporary, half, name)
            shutil.copytree(fixtures / name, case)
            for change in changes:
                change(case)
            run = subprocess.run(
                [fathom, "verify", "--json", "--only", half, str(case)], capture_output=True, text=True
            )
            shutil.rmtree(case)
            (report,) = json.loads(run.stdout)
            return run.returncode, report

        for name, half, changes in WRONG:
            if half == "train" and halves != "both":
                continue
            code, report = verify(name, half, [change for change, _ in changes])
            failed = [finding["tensor"] for finding in report["findings"] if not finding["ok"]]
            expect(name, code == 1 and "error" not in report, (code, report.get("error")))
            for _, line in changes:
                expect(f"{name}: {line}", any(tensor.startswith(line) for tensor in failed), failed)

        if halves == "both":
            code, report = verify("vanilla_gqa", "train", [unmoved_weight])
            failed = [finding["tensor"] for finding in report["findings"] if not finding["ok"]]
            expect("a gradient of nothing", code == 1, code)
            expect("a gradient of nothing", failed == ["gradients of parameters_without_gradient"], failed)

        def unread_weight(case: Path):
            path = case / "weights.safetensors"
            write_safetensors(path, read_safetensors(path) | {"w2.weight": ("F32", [1], [0.0])})

        code, report = verify("module_mlp", "engine", [unread_weight])
        expect("a weight that nobody reads", code == 1 and "tensor w2.weight" in report.get("error", ""), report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
