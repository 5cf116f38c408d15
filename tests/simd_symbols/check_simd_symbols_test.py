#!/usr/bin/env python3
"""check_simd_symbols.py tells a sound object from one that shares symbols; the objects are made by the compiler."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).with_name("check_simd_symbols.py")
COMPILER = sys.argv.pop(1)

SOUND = "namespace f::avx2 { void g(float* x) { *x += 1; } }\n"
PLANTED = {
    "weak symbol": "inline int twice(int x) { return 2 * x; }\n"
    "namespace f::avx2 { int (*g())(int) { return twice; } void h() {} }\n",
    "std::": "#include <vector>\nnamespace f::avx2 { void g(std::vector<int>& v) { v.push_back(1); } }\n",
    "outside namespace avx2": SOUND + "namespace f { void g(float* x) { *x += 1; } }\n",
    "defines no function": "int unused;\n",
}


def run_on(source: str) -> tuple[int, str]:
    with tempfile.TemporaryDirectory() as folder:
        code, compiled = Path(folder, "op_simd.cc"), Path(folder, "op_simd.cc.o")
        code.write_text(source, encoding="utf-8")
        subprocess.run([COMPILER, "-c", "-o", compiled, code], check=True)
        done = subprocess.run([sys.executable, SCRIPT, "avx2", compiled], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout


class CheckSimdSymbols(unittest.TestCase):
    def test_sound_object_passes(self):
        self.assertEqual(run_on(SOUND), (0, "1 objects of level avx2 read, 0 problems\n"))

    def test_planted_symbol_fails(self):
        for expected, source in PLANTED.items():
            with self.subTest(expected=expected):
                status, output = run_on(source)
                self.assertEqual(status, 1, output)
                self.assertIn(expected, output)


if __name__ == "__main__":
    unittest.main()
