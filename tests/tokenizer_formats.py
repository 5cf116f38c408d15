"""Published vocabularies as tokenizer.json, for comparing Fathom's tokenizer with the `tokenizers` library.

Vocabularies come in the forms their makers published: GPT-2's pair of files, tiktoken's ranks, a SentencePiece
model. Each function here returns the content of a tokenizer.json that means the same.
"""

import base64
import json
import struct

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def added(content, token_id, special=True, normalized=False, **flags):
    token = {"id": token_id, "content": content, "single_word": False, "lstrip": False, "rstrip": False}
    return {**token, "normalized": normalized, "special": special, **flags}


def without_gaps(vocab, tokens):
    """Reserves the ids between added tokens: `tokenizers` would number added tokens without gaps."""
    used = {token["id"] for token in tokens} | set(vocab.values())
    missing = [i for i in range(max(used) + 1) if i not in used]
    return sorted([*tokens, *(added(f"<|reserved_{i}|>", i) for i in missing)], key=lambda token: token["id"])


def tokenizer(vocab, merges, pre_tokenizer, added_tokens=(), decoder=BYTE_LEVEL, normalizer=None,
              post_processor=None, **model):
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": without_gaps(vocab, added_tokens),
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor,
        "decoder": decoder,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "ignore_merges": False, **model, "vocab": vocab, "merges": merges},
    }


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def gpt2(folder, pre_tokenizer=BYTE_LEVEL):
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:]
    merges = [line for line in lines if line]
    return tokenizer(vocab, merges, pre_tokenizer, [added("<|endoftext|>", vocab["<|endoftext|>"])])


def smollm_style(folder):
    """GPT-2's vocabulary behind SmolLM's cutting: single digits first."""
    return gpt2(folder, sequence({"type": "Digits", "individual_digits": True}, BYTE_LEVEL))


def byte_characters():
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in kept]
    table = {byte: chr(byte) for byte in kept}
    table.update({byte: chr(0x100 + i) for i, byte in enumerate(moved)})
    return table


def read_ranks(path):
    ranks = {}
    for line in path.read_bytes().splitlines():
        if line:
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
    return ranks


def parts_of(token, ranks):
    """The two tokens that merge into `token`: what BPE makes of it with earlier merges only."""
    parts = [token[i:i + 1] for i in range(len(token))]
    limit = ranks[token]
    while len(parts) > 2:
        best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], limit))
        if ranks.get(parts[best] + parts[best + 1], limit) >= limit:
            return None
        parts[best:best + 2] = [parts[best] + parts[best + 1]]
    return parts


def from_ranks(path, pattern, specials, behavior="Isolated", invert=False, **model):
    ranks = read_ranks(path)
    table = byte_characters()

    def text(token):
        return "".join(table[byte] for byte in token)

    merges = []
    for token in sorted(ranks, key=ranks.get):
        parts = parts_of(token, ranks) if len(token) > 1 else None
        if parts:
            merges.append([text(parts[0]), text(parts[1])])
    vocab = {text(token): rank for token, rank in ranks.items()}
    bytes_only = {**BYTE_LEVEL, "use_regex": False}
    return tokenizer(vocab, merges, sequence(split(pattern, behavior, invert), bytes_only), specials, **model)


def llama3(folder):
    specials = [added("<|begin_of_text|>", 128000), added("<|end_of_text|>", 128001), added("<|eot_id|>", 128009)]
    begin = {"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}
    template = {
        "type": "TemplateProcessing", "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|begin_of_text|>": {"id": "<|begin_of_text|>", "ids": [128000],
                                                 "tokens": ["<|begin_of_text|>"]}},
    }
    both = {"type": "Sequence", "processors": [BYTE_LEVEL, template]}
    return from_ranks(folder / "tokenizer.model", CL100K, specials, ignore_merges=True, post_processor=both)


def o200k(folder):
    specials = [added("<|endoftext|>", 199999), added("<|assistant|>", 200019),
                added("<|end|>", 200020, rstrip=True), added("<|user|>", 200021, rstrip=True),
                added("<|system|>", 200022)]
    return from_ranks(folder / "o200k_base.tiktoken", O200K, specials, behavior="Removed", invert=True)


def sentencepiece_pieces(path):
    """(piece, score, type) of a SentencePiece model: field 1 of the protobuf, repeated."""

    def fields(data):
        at = 0

        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return value

        while at < len(data):
            key = varint()
            if key & 7 == 0:
                yield key >> 3, varint()
            else:
                size = {1: 8, 5: 4}.get(key & 7)
                size = varint() if size is None else size
                yield key >> 3, data[at:at + size]
                at += size

    for number, value in fields(path.read_bytes()):
        if number == 1:
            piece = dict(fields(value))
            yield piece[1].decode(), struct.unpack("<f", piece[2])[0], piece.get(3, 1)


def llama2(folder):
    """As transformers converts it: spaces become U+2581, no cutting into words, bytes as a fallback."""
    pieces = list(sentencepiece_pieces(folder / "tokenizer.model"))
    vocab = {piece: i for i, (piece, _, _) in enumerate(pieces)}
    candidates = []
    for piece, score, kind in pieces:
        if kind != 1:
            continue
        for at in range(1, len(piece)):
            left, right = piece[:at], piece[at:]
            if left in vocab and right in vocab:
                candidates.append((-score, vocab[left], vocab[right], left, right))
    merges = [[left, right] for _, _, _, left, right in sorted(candidates)]
    normalizer = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}
    decoder = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    specials = [added("<unk>", 0), added("<s>", 1), added("</s>", 2)]
    return tokenizer(vocab, merges, None, specials, decoder, normalizer, unk_token="<unk>", fuse_unk=True,
                     byte_fallback=True)


def published(folder):
    """name -> content of tokenizer.json, for every vocabulary under `folder`."""
    neox = folder / "gpt_neox_20b" / "tokenizer.json"
    return {
        "gpt2": lambda: gpt2(folder / "gpt2"),
        "gpt2 behind Digits (SmolLM)": lambda: smollm_style(folder / "gpt2"),
        "gpt_neox_20b": lambda: json.loads(neox.read_text(encoding="utf-8")),
        "llama3": lambda: llama3(folder / "llama3"),
        "o200k_base": lambda: o200k(folder / "o200k_base"),
        "llama2": lambda: llama2(folder / "llama2"),
    }
