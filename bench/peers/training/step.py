"""Training steps of a plain PyTorch model on random tokens, timed.

usage: step.py SPEC [--rows 2] [--length 512] [--precision bf16] [--compile none|layers|model] [--warmup 2]

Builds the model of a Fathom spec (TOML) and makes `warmup` steps. Then every line "N" on standard input makes N more
steps, whose seconds are answered as a JSON list on one line. A step is forward, backward, clipping at norm 1 and fused
AdamW; master weights are float, products bfloat16 by autocast.
"""

import argparse
import json
import sys
import time
import tomllib

import torch

from llama import Llama
from sambay import SambaY


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("spec")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--compile", choices=["none", "layers", "model"], default="none")
    parser.add_argument("--warmup", type=int, default=2)
    args = parser.parse_args()
    with open(args.spec, "rb") as file:
        spec = tomllib.load(file)
    torch.manual_seed(1)
    model = (SambaY if spec["architecture"] == "sambay" else Llama)(spec)
    loss_of = model
    if args.compile == "layers":
        model.compile_layers()
    elif args.compile == "model":
        loss_of = torch.compile(model, dynamic=False)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True
    )

    def step():
        tokens = torch.randint(spec["vocab_size"], (args.rows, args.length + 1))
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
            loss = loss_of(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return time.perf_counter() - start

    first = [step() for _ in range(args.warmup)]
    parameters = sum(p.numel() for p in model.parameters())
    print(json.dumps({"parameters": parameters, "warmup_seconds": first}), flush=True)
    for line in sys.stdin:
        print(json.dumps([step() for _ in range(int(line))]), flush=True)


if __name__ == "__main__":
    main()
