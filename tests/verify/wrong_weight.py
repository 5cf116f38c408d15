#!/usr/bin/env python3
"""`fathom verify` must fail when one weight of a case is off: wrong_weight.py FATHOM FIXTURES."""

import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    fathom, fixtures = sys.argv[1], Path(sys.argv[2])
    for name in ("vanilla_gqa", "variant_sambay", "mor_expert_nr2", "module_mamba1", "init_average_middle_cycle_nr2"):
        with tempfile.TemporaryDirectory() as folder:
            case = Path(folder, name)
            shutil.copytree(fixtures / name, case)
            weights = case / "weights.safetensors"
            content = bytearray(weights.read_bytes())
            # A few values over the file (one alone may lie in an embedding row that no token uses).
            (header,) = struct.unpack("<Q", content[:8])
            values = (len(content) - 8 - header) // 4
            for part in range(1, 8):
                at = 8 + header + values * part // 8 * 4
                (value,) = struct.unpack("<f", content[at : at + 4])
                content[at : at + 4] = struct.pack("<f", value * 1.001 + 0.01)
            weights.write_bytes(content)
            code = subprocess.run([fathom, "verify", "--only", "engine", str(case)], capture_output=True).returncode
            if code != 1:
                print(f"{name}: a wrong weight gave exit code {code}, expected 1")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
