#!/usr/bin/env python3
"""check_layering.py lets a sound tree pass and fails on each kind of wrong include, naming file and line."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).with_name("check_layering.py")

SOUND = {
    "base/file.h": "#pragma once\n#include <string>\n",
    "plan/plan.cc": '#include "plan/plan.h"\n#include <nlohmann/json.hpp>\n#include "base/file.h"\n',
    "engine/executor.cc": '#include "state/slots.h"\n#include "weights/weights.h"\n',
    "train/loop.cc": '#include <ATen/core/Tensor.h>\n#include "data/rows.h"\n',
    "cli/main.cc": '#include "engine/executor.h"\n#include "train/loop.h"\n',
}

# (file, its contents, what the message must hold)
PLANTED = [
    ("base/file.cc", '#include "plan/plan.h"\n', "base/file.cc:1"),
    ("plan/upward.cc", '\n#include "engine/executor.h"\n', "plan/upward.cc:2"),
    ("kernels/rms_norm/rms_norm_cpu.cc", '#include "plan/plan.h"\n', "src/kernels may include base"),
    ("state/slots.h", '  #  include "weights/weights.h"\n', "state/slots.h:1"),
    ("engine/fast.cc", '#include "train/loop.h"\n', "src/engine may include"),
    ("train/loop.h", '#include "engine/executor.h"\n', "src/train may include"),
    ("data/rows_test.cc", '#include "eval/report.h"\n', "src/data may include"),
    ("engine/tensor.cc", "#include <ATen/core/Tensor.h>\n", "LibTorch"),
    ("cli/train_command.cc", "#include <torch/torch.h>\n", "LibTorch"),
    ("weights/half.h", '#include "c10/util/Half.h"\n', "LibTorch"),
    ("kernels/loop.cc", "void f() {\n#pragma omp parallel for\n}\n", "kernels/loop.cc:2: uses OpenMP"),
    ("train/threads.cc", "#include <omp.h>\n", "OpenMP"),
    ("io/beside.cc", '#include "beside.h"\n', "named from src/"),
    ("io/up.cc", '#include "../plan/plan.h"\n', "named from src/"),
    ("io/angle.cc", "#include <plan/plan.h>\n", "our own headers"),
    ("io/foreign.cc", '#include "nlohmann/json.hpp"\n', "no folder of src/"),
    ("misc/new.cc", "\n", "misc/new.cc: lies in no folder"),
]


def run_on(files: dict[str, str]) -> tuple[int, str]:
    with tempfile.TemporaryDirectory() as src:
        for name, contents in files.items():
            path = Path(src, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(contents, encoding="utf-8")
        done = subprocess.run([sys.executable, SCRIPT, src], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout


class CheckLayering(unittest.TestCase):
    def test_sound_tree_passes(self):
        self.assertEqual(run_on(SOUND), (0, f"{len(SOUND)} files read, 0 problems\n"))

    def test_planted_include_fails(self):
        for name, contents, expected in PLANTED:
            with self.subTest(name=name):
                status, output = run_on(SOUND | {name: contents})
                self.assertEqual(status, 1, output)
                self.assertIn(expected, output)
                self.assertIn("1 problems", output)

    def test_empty_tree_fails(self):
        self.assertEqual(run_on({})[0], 1)


if __name__ == "__main__":
    unittest.main()
