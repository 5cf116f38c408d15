#!/usr/bin/env python3
"""`fathom verify` of a case with a probe, made here of a small case that has none: probe.py FATHOM FIXTURES."""

import json
import math
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors_files import read_safetensors, write_safetensors

CASE = "mor_expert_nr2"

def losses(logits, labels, vocab):
    out = []
    for place, label in labels:
        row = logits[place * vocab : (place + 1) * vocab]
        largest = max(row)
        out.append(largest + math.log(sum(math.exp(x - largest) for x in row)) - row[label])
    return out


def probe_of(io):
    """The tensors of a probe, from what the case says of its own two rows."""
    ids, (_, (rows, length, vocab), logits) = io["input_ids"][2], io["logits"]
    labels = [(r * length + t, ids[r * length + t + 1]) for r in range(rows) for t in range(length - 1)]
    deep = {(r, t) for r in range(rows) for t in io["router.1.selected"][2][r * length // 2 : (r + 1) * length // 2]}
    depths = [2 if (r, t) in deep else 1 for r in range(rows) for t in range(length)]
    return {
        "val.nll": ("F32", [rows, length - 1], losses(logits, labels, vocab)),
        "val.logits_row0_first64": ("F32", [5, vocab], logits[: 5 * vocab]),
        "val.router.1.logits_rows01": io["router.1.logits"],
        "val.router.1.selected_rows01": io["router.1.selected"],
        "val.depth_all_rows": ("U8", [rows, length], depths),
    }


def main() -> int:
    fathom, fixtures = sys.argv[1], Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        case, text = folder / CASE, folder / "data" / "val.bin"
        shutil.copytree(fixtures / CASE, case)
        text.parent.mkdir()
        io = read_safetensors(case / "io.safetensors")
        ids = io["input_ids"][2]
        text.write_bytes(struct.pack(f"<{len(ids)}H", *ids))
        right = probe_of(io)

        def verify(probe):
            """Exit code, the lines about the probe that failed or not, and notes."""
            write_safetensors(case / "probe.safetensors", probe)
            # The folder, in which the text is no case.
            run = subprocess.run([fathom, "verify", "--only", "engine", "--json", str(folder)], capture_output=True)
            (report,) = json.loads(run.stdout)
            findings = {f["tensor"]: f["ok"] for f in report["findings"] if f["tensor"].startswith("probe ")}
            return run.returncode, findings, " ".join(report.get("notes", []))

        def expect(what, holds, seen):
            if not holds:
                print(f"{what}: {seen}")
                sys.exit(1)

        seen = verify(right)
        expect("a right probe", seen[0] == 0 and len(seen[1]) == 6 and all(seen[1].values()) and not seen[2], seen)

        for name, (dtype, shape, values) in right.items():
            wrong = list(values)
            if dtype == "F32":
                wrong[7] += 0.01
            else:
                wrong[7] += 1
            seen = verify(right | {name: (dtype, shape, wrong)})
            expect(f"a wrong {name}", seen[0] == 1 and not seen[1]["probe " + name], seen)

        seen = verify(right | {"val.other": ("F32", [1], [0.0])})
        expect("an unknown tensor", seen[0] == 0 and "val.other" in seen[2], seen)

        seen = verify(right | {"val.nll": ("F32", [3, 23], [1.0] * 69)})
        expect("more rows than the text has", seen[0] == 1 and not seen[1], seen)

        hidden = text.read_bytes()
        text.unlink()
        seen = verify(right)
        expect("a probe without its text", seen[0] == 0 and not seen[1] and "val.bin" in seen[2], seen)
        text.write_bytes(hidden)

        # A router whose logits are all alike: nothing of its rows can be compared.
        weights = read_safetensors(case / "weights.safetensors")
        (router,) = [name for name in weights if name.startswith("model.layers.2.mor_router")]
        dtype, shape, values = weights[router]
        write_safetensors(case / "weights.safetensors", weights | {router: (dtype, shape, [0.0] * len(values))})
        seen = verify(right)
        expect("a router without a margin", not seen[1] and "2 of 2 rows" in seen[2], seen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
