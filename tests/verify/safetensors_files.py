"""Small safetensors files as {name: (dtype, shape, values)}, without a library."""

import json
import math
import struct
from pathlib import Path

CODES = {"F32": "f", "I64": "q", "U8": "B"}


def read_safetensors(path: Path):
    """{name: (dtype, shape, values)}"""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    tensors = {}
    for name, info in json.loads(content[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        count = math.prod(info["shape"])
        values = struct.unpack(f"<{count}{CODES[info['dtype']]}", content[8 + size + begin : 8 + size + end])
        tensors[name] = (info["dtype"], info["shape"], list(values))
    return tensors


def write_safetensors(path: Path, tensors) -> None:
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        packed = struct.pack(f"<{len(values)}{CODES[dtype]}", *values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
