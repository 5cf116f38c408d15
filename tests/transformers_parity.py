#!/usr/bin/env python3
"""What `fathom convert --to hf` writes is opened by transformers and gives the recorded logits.

transformers_parity.py --fathom FILE. Needs the packages `torch` and `transformers` in the interpreter that runs it, or
in the one that FATHOM_TRANSFORMERS_PYTHON names, and the recorded checkpoint cases under FATHOM_SHARED; without either
it says so and ends with 77.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SKIP = 77
LIMIT = 1e-4

# Case, flags of `fathom convert`.
CASES = [
    ("checkpoint_vanilla", []),
    ("checkpoint_recursive", ["--unroll"]),
]


def tensors(path: Path) -> dict[str, list]:
    """The tensors of a safetensors file as nested lists."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        letter = {"F32": "f", "I64": "q"}[entry["dtype"]]
        count = (end - begin) // struct.calcsize(letter)
        values = list(struct.unpack(f"<{count}{letter}", content[begin:end]))
        for extent in reversed(entry["shape"][1:]):
            values = [values[i : i + extent] for i in range(0, len(values), extent)]
        found[name] = values
    return found


def worst_difference(directory: Path, recorded: dict[str, list]) -> float:
    import torch
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(directory, torch_dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[kind]:
            raise SystemExit(f"{directory.name}: transformers reports {kind} {sorted(report[kind])}")
    with torch.no_grad():
        logits = model.eval()(torch.tensor(recorded["input_ids"])).logits
    return (logits - torch.tensor(recorded["logits"])).abs().max().item()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fathom", required=True)
    arguments = parser.parse_args()
    chosen = os.environ.get("FATHOM_TRANSFORMERS_PYTHON")
    if chosen and os.path.realpath(chosen) != os.path.realpath(sys.executable):
        return subprocess.run([chosen, __file__, "--fathom", arguments.fathom], check=False).returncode
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        print(f"skipped: {error.name} is not installed (FATHOM_TRANSFORMERS_PYTHON names an interpreter that has it)")
        return SKIP
    root = Path(__file__).resolve().parent.parent
    cases = Path(os.environ.get("FATHOM_SHARED", root / "../shared")) / "fixtures/mixture-of-recursions"
    if not cases.is_dir():
        print(f"skipped: {cases} is missing (FATHOM_SHARED names the folder of the published fixtures)")
        return SKIP
    failed = 0
    for name, flags in CASES:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "model")
            command = [arguments.fathom, "convert", cases / name, "--out", out, "--to", "hf", *flags]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            worst = worst_difference(out, tensors(cases / name / "io.safetensors"))
        ok = worst <= LIMIT
        failed += not ok
        print(
            f"{' '.join([name, *flags])}: logits of transformers {transformers.__version__} are off by {worst:.2e}, "
            f"limit {LIMIT:g}: {'ok' if ok else 'FAILED'}"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
