#!/usr/bin/env python3
"""`fathom verify` of cases cut down to what other recordings of their kind hold: partial_cases.py FATHOM FIXTURES."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors_files import read_safetensors, write_safetensors


def main() -> int:
    fathom, fixtures = sys.argv[1], Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def cut(name, new_name, keep):
            """A copy of a case with the tensors of io.safetensors that keep(tensor) names, or makes anew."""
            shutil.copytree(fixtures / name, folder / new_name)
            path = folder / new_name / "io.safetensors"
            tensors = {}
            for tensor, value in read_safetensors(path).items():
                kept = keep(tensor, value)
                if kept:
                    tensors[tensor] = value if kept is True else kept
            write_safetensors(path, tensors)
            return folder / new_name

        def verify(*cases):
            run = subprocess.run([fathom, "verify", "--json", *map(str, cases)], capture_output=True, text=True)
            return run.returncode, {report["case"]: report for report in json.loads(run.stdout)}

        def plain(tensor, _):
            return "memory" not in tensor and not tensor.startswith(("state", "decode", "grad.", "grad_in."))

        def last_position(tensor, value):
            dtype, shape, values = value
            if tensor not in ("in.x", "out.y", "grad_out.y"):
                return not tensor.startswith("grad")
            batch, length, width = shape
            rows = [values[((b + 1) * length - 1) * width : (b + 1) * length * width] for b in range(batch)]
            return dtype, [batch, 1, width], [x for row in rows for x in row]

        mamba = cut("module_mamba1", "module_mamba1_plain", plain)
        mamba2 = cut("module_mamba2", "module_mamba2_plain", plain)
        lone = cut("module_attention_rope", "module_attention_rope_y", lambda t, v: t not in ("out.k", "out.v"))
        decode = cut("module_cross_attention_nope", "module_cross_attention_decode", last_position)
        broken = cut("module_gmu", "module_gmu_broken", lambda t, v: t == "in.x")
        code, reports = verify(mamba, mamba2, lone, decode, broken, fixtures / "module_mlp")

        def expect(what, holds, seen):
            if not holds:
                print(f"{what}: {seen}")
                sys.exit(1)

        def finding(report, tensor):
            return next((f["ok"] for f in report["findings"] if f["tensor"] == tensor), None)

        expect("six reports, one of them bad", code == 1 and len(reports) == 6, (code, list(reports)))
        for name in ("module_mamba1_plain", "module_mamba2_plain", "module_cross_attention_decode"):
            expect(name, reports[name]["ok"] and finding(reports[name], "out.y"), reports[name])
        expect("outputs without keys", finding(reports["module_attention_rope_y"], "out.y"), reports)
        expect("a sentence for a broken case", "error" in reports["module_gmu_broken"], reports["module_gmu_broken"])
        expect("the case behind it", reports["module_mlp"]["ok"], reports["module_mlp"])

        # Decoding alone has nothing for the trainer, and says so.
        run = subprocess.run(
            [fathom, "verify", "--only", "train", str(fixtures / "decode_vanilla")], capture_output=True, text=True
        )
        expect("decoding without the engine", run.returncode == 1 and "--only train leaves nothing" in run.stdout, run)

        # In a folder such a case is left out, and counted.
        shutil.copytree(fixtures / "train_vanilla", folder / "more" / "train_vanilla")
        shutil.copytree(fixtures / "vanilla_gqa", folder / "more" / "vanilla_gqa")
        run = subprocess.run(
            [fathom, "verify", "--only", "engine", str(folder / "more")], capture_output=True, text=True
        )
        counted = "1 passed, 0 failed, 0 not supported yet, 1 without anything for --only engine"
        expect("a folder, the engine's half", run.returncode == 0 and counted in run.stdout, run)
        run = subprocess.run([fathom, "verify", "--tolerance", "x", str(folder / "more")], capture_output=True, text=True)
        expect("a tolerance that is no number", run.returncode == 2 and "--tolerance x" in run.stderr, run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
