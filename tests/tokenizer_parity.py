"""Fathom's token ids and texts against the `tokenizers` library.

Without further flags: the bundled tokenizer on text made here (the bundled corpus, generated Korean, this
repository's code, random characters). With --vocabularies and --texts: every published vocabulary on those
files; --shared takes the vocabularies of the folder that FATHOM_SHARED names, else ../shared beside the
repository, and a few awkward lines. Exits with 77, which ctest reports as skipped, when `tokenizers` is not installed or that folder is not
there.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
ROOT = pathlib.Path(__file__).resolve().parent.parent


def use_installed_tokenizers():
    """Continues in .deps/venv if this interpreter lacks `tokenizers`."""
    if importlib.util.find_spec("tokenizers"):
        return
    venv = ROOT / ".deps" / "venv" / "bin" / "python"
    if venv.exists() and pathlib.Path(sys.prefix).resolve() != venv.parent.parent.resolve():
        os.execv(venv, [str(venv), *sys.argv])
    print("skipped: the Python package `tokenizers` is not installed, neither here nor in .deps/venv")
    sys.exit(SKIPPED)


def random_lines(generator, count):
    """Characters from everywhere: assigned or not, combining, outside the basic plane."""
    ranges = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x900, 0xDFF), (0x1100, 0x11FF),
              (0x2000, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF)]
    for _ in range(count):
        line = []
        for _ in range(generator.randrange(60)):
            low, high = generator.choice(ranges)
            line.append(chr(generator.randint(low, high)) * generator.choice([1, 1, 1, 2, 5]))
        yield "".join(line)


def korean_lines(generator, count):
    particles = ["은", "는", "이", "가", "을", "를", "에서", "으로", "하고", "입니다.", "했다!", "?", ""]
    for _ in range(count):
        words = []
        for _ in range(generator.randint(3, 15)):
            word = "".join(chr(generator.randint(0xAC00, 0xD7A3)) for _ in range(generator.randint(1, 4)))
            words.append(word + generator.choice(particles))
        yield " ".join(words)


def awkward_lines():
    yield from ["", " ", "  ", "\t", " \t a", "a  b   c", "it's I'LL we'Ve 'S 'ſ", "x = 3.14159e-10", "１２３ ½ Ⅷ ⑦",
                "\u00a0\u2003\u3000a\u180e\u200b\u0085b", "e\u0301 \u0065\u0301", "한글 한글", "👩‍👩‍👧‍👦 🇰🇷",
                "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ", "<|endoftext|", "\u0000\u0001\u007f",
                "a\r b\rc", "ﷺ ﬁ İI", "ไทย नमस्ते ₩1,000", "'''", "a" * 3000, " " * 500, "." * 700 + "a"]


def own_lines():
    generator = random.Random(20240229)
    yield from awkward_lines()
    yield from (ROOT / "data" / "corpus.valid.txt").read_text(encoding="utf-8").split("\n")
    for path in sorted((ROOT / "src").rglob("*.cc")):
        yield from path.read_text(encoding="utf-8").split("\n")
    yield from korean_lines(generator, 3000)
    yield from random_lines(generator, 5000)


def every_character():
    """Each character between letters, digits and spaces, twelve to a line."""
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF and c != 0x0A]
    for at in range(0, len(characters), 12):
        yield "".join(f"a{c}b {c}1{c} {c}{c}'s" for c in characters[at:at + 12])


def lines_of(files):
    yield from awkward_lines()
    for path in files:
        yield from path.read_text(encoding="utf-8", errors="replace").split("\n")


def run_fathom(binary, flags, text):
    done = subprocess.run([binary, "tokenize", *flags], input=text.encode(), capture_output=True)
    if done.returncode != 0:
        sys.exit(f"fathom tokenize {' '.join(flags)} failed: {done.stderr.decode()}")
    return done.stdout.decode().split("\n")[:-1]


# A chat as the tokenizer of a published model with this vocabulary encodes it.
CHAT = ("<|system|>Your name is Phi, an AI math expert developed by Microsoft. You are a medieval knight and must provide "
        "explanations to modern people.<|end|><|user|>How should I explain the Internet?<|end|><|assistant|>")
CHAT_IDS = [200022, 9719, 1308, 382, 102143, 11, 448, 20837, 13324, 8333, 9742, 656, 8321, 13, 1608, 553, 261, 55145,
            105457, 326, 2804, 3587, 69457, 316, 6809, 1665, 13, 200020, 200021, 5299, 1757, 357, 16644, 290, 7380, 30,
            200020, 200019]


def compare_chat(binary, path):
    ids = json.loads(run_fathom(binary, ["--tokenizer", str(path), "--special", "--ids"], CHAT)[0])
    print(f"recorded chat: ids {'agree' if ids == CHAT_IDS else f'differ: {ids}'}")
    return int(ids != CHAT_IDS)


def compare(name, binary, path, lines):
    """Number of lines whose ids, or whose decoded text, differ."""
    import tokenizers

    reference = tokenizers.Tokenizer.from_file(str(path))
    text = "".join(line + "\n" for line in lines)
    started = time.monotonic()
    encodings = reference.encode_batch(lines)
    theirs_seconds = time.monotonic() - started
    theirs = [encoding.ids for encoding in encodings]
    started = time.monotonic()
    ours = [json.loads(line) for line in run_fathom(binary, ["--tokenizer", str(path), "--special", "--ids"], text)]
    ours_seconds = time.monotonic() - started
    if len(ours) != len(theirs):
        sys.exit(f"{name}: {len(ours)} lines came back for {len(theirs)}")
    wrong = [i for i in range(len(lines)) if ours[i] != theirs[i]]
    for i in wrong[:5]:
        first = next((at for at, pair in enumerate(zip(ours[i], theirs[i])) if pair[0] != pair[1]), 0)
        print(f"  {name}, line {i + 1}: {lines[i][:80]!r}\n    fathom     {ours[i][first:first + 12]}"
              f"\n    tokenizers {theirs[i][first:first + 12]}")
    # Texts with line feeds or carriage returns would blur the lines of the answer.
    texts = [reference.decode(ids, skip_special_tokens=True) for ids in theirs]
    keep = [i for i in range(len(lines)) if "\n" not in texts[i]]
    decoded = run_fathom(binary, ["--tokenizer", str(path), "--decode"],
                         "".join(json.dumps(theirs[i]) + "\n" for i in keep))
    wrong_texts = [i for i, own in zip(keep, decoded) if own != texts[i]]
    for i in wrong_texts[:5]:
        print(f"  {name}, line {i + 1} decodes differently: {texts[i][:80]!r}")
    tokens = sum(map(len, theirs))
    print(f"{name}: {len(lines)} lines, {len(text.encode())} bytes, {tokens} tokens: {len(wrong)} lines differ in "
          f"ids, {len(wrong_texts)} of {len(keep)} in text (fathom {ours_seconds:.1f} s with start and printing, "
          f"tokenizers {theirs_seconds:.1f} s)", flush=True)
    return len(wrong) + len(wrong_texts) + abs(len(decoded) - len(keep))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fathom", required=True, help="the binary")
    parser.add_argument("--vocabularies", type=pathlib.Path, help="folder of published vocabularies")
    parser.add_argument("--shared", action="store_true", help="the vocabularies of FATHOM_SHARED")
    parser.add_argument("--texts", type=pathlib.Path, nargs="*", default=[], help="files to encode")
    parser.add_argument("--every-character", action="store_true", help="every character of Unicode, in contexts")
    arguments = parser.parse_args()
    if arguments.shared:
        named = os.environ.get("FATHOM_SHARED", "")
        arguments.vocabularies = (pathlib.Path(named) if named else ROOT / "../shared") / "data" / "tokenizers"
        if not arguments.vocabularies.is_dir():
            print(f"skipped: {arguments.vocabularies} is missing (FATHOM_SHARED names the folder that has it)")
            sys.exit(1 if named else SKIPPED)
    use_installed_tokenizers()
    if arguments.every_character:
        lines = list(every_character())
    elif arguments.shared:
        lines = list(awkward_lines())
    else:
        lines = list(lines_of(arguments.texts) if arguments.texts else own_lines())
    differing = 0
    if not arguments.vocabularies:
        bundled = ROOT / "data" / "tokenizer" / "tokenizer.json"
        differing += compare("data/tokenizer", arguments.fathom, bundled, lines)
    else:
        import tokenizer_formats
        for name, content in tokenizer_formats.published(arguments.vocabularies).items():
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "tokenizer.json"
                path.write_text(json.dumps(content(), ensure_ascii=False), encoding="utf-8")
                differing += compare(name, arguments.fathom, path, lines)
                if name == "o200k_base":
                    differing += compare_chat(arguments.fathom, path)
    if not lines:
        sys.exit("no lines to compare")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
