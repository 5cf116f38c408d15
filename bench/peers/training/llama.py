"""Llama and Mixture-of-Recursions as one writes them in plain PyTorch: the peers of `fathom-train bench`."""

import torch
import torch.nn.functional as F
from torch import nn


def rope_tables(length: int, head_dim: int, theta: float):
    inverse = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), inverse)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class Layer(nn.Module):
    def __init__(self, spec):
        super().__init__()
        h, f = spec["hidden_size"], spec["intermediate_size"]
        self.heads, self.kv_heads, self.head_dim = (
            spec["num_attention_heads"],
            spec["num_key_value_heads"],
            spec["head_dim"],
        )
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        self.split = [q, kv, kv]
        self.norm1, self.norm2 = nn.RMSNorm(h, spec["norm_eps"]), nn.RMSNorm(h, spec["norm_eps"])
        self.qkv, self.o = nn.Linear(h, q + 2 * kv, bias=False), nn.Linear(q, h, bias=False)
        self.gate_up, self.down = nn.Linear(h, 2 * f, bias=False), nn.Linear(f, h, bias=False)

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(self.split, -1)
        q = rotate(q.view(b, t, self.heads, self.head_dim).transpose(1, 2), cos, sin)
        k = rotate(k.view(b, t, self.kv_heads, self.head_dim).transpose(1, 2), cos, sin)
        v = v.view(b, t, self.kv_heads, self.head_dim).transpose(1, 2)
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True, enable_gqa=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, -1))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Llama(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.recursions = spec.get("num_recursion", 1) if "router" in spec else 1
        layers = spec["num_hidden_layers"]
        stored = layers if self.recursions == 1 else 2 + (layers - 2) // self.recursions
        self.embedding = nn.Embedding(spec["vocab_size"], spec["hidden_size"])
        self.layers = nn.ModuleList(Layer(spec) for _ in range(stored))
        self.final_norm = nn.RMSNorm(spec["hidden_size"], spec["norm_eps"])
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
        if self.recursions > 1:
            self.router = nn.Parameter(torch.randn(self.recursions, spec["hidden_size"]) * 0.02)

    def compile_layers(self):
        for layer in self.layers:
            layer.compile(dynamic=False)

    def recurse(self, x, cos, sin):
        """Expert choice: each pass keeps (Nr - r) / Nr of all tokens out of those of the pass before."""
        b, t, h = x.shape
        router = self.spec["router"]
        index = torch.arange(t).expand(b, t)
        auxiliary = x.new_zeros(())
        for r in range(self.recursions):
            seen = x if r == 0 else x.gather(1, index.unsqueeze(-1).expand(-1, -1, h))
            logits = seen.float() @ self.router[r]
            weights = torch.sigmoid(logits) * router["alpha"]
            keep = max(1, t * (self.recursions - r) // self.recursions)
            chosen = torch.topk(weights, keep, dim=1).indices.sort(1).values
            target = torch.zeros_like(logits).scatter(1, chosen, 1.0)
            auxiliary = auxiliary + F.binary_cross_entropy_with_logits(logits, target)
            index = index.gather(1, chosen)
            y = seen.gather(1, chosen.unsqueeze(-1).expand(-1, -1, h))
            rows = index.unsqueeze(1).unsqueeze(-1).expand(-1, 1, -1, cos.shape[-1])
            kept_cos, kept_sin = (table.expand(b, 1, -1, -1).gather(2, rows) for table in (cos, sin))
            for layer in self.layers[1:-1]:
                y = layer(y, kept_cos, kept_sin)
            y = y * weights.gather(1, chosen).unsqueeze(-1)
            x = x.scatter_add(1, index.unsqueeze(-1).expand(-1, -1, h), y.to(x.dtype))
        return x, auxiliary * router["loss_coefficient"]

    def forward(self, ids, labels):
        cos, sin = rope_tables(ids.shape[1], self.spec["head_dim"], self.spec["rope_theta"])
        x = self.embedding(ids)
        loss = 0.0
        if self.recursions == 1:
            for layer in self.layers:
                x = layer(x, cos, sin)
        else:
            x = self.layers[0](x, cos, sin)
            x, loss = self.recurse(x, cos, sin)
            x = self.layers[-1](x, cos, sin)
        logits = F.linear(self.final_norm(x), self.embedding.weight)
        return loss + F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
