"""SambaY in plain PyTorch, with the fastest selective scan that we found without a kernel of one's own."""

import math

import torch
import torch.nn.functional as F
from torch import nn

CHUNK = 32


def selective_scan(x, dt, a, b, c, d):
    """y of h[t] = exp(dt a) h[t-1] + dt x b[t], y[t] = c[t] . h[t] + d x[t]; x and dt [B, T, E], b and c [B, T, N].

    The steps inside a chunk run one after another for all chunks at once; the chunks' carries follow, and are added
    with the decay since the chunk began. Nothing is divided by a decay, so nothing overflows.
    """
    batch, length, inner = x.shape
    chunks = length // CHUNK
    log_decay = (dt.unsqueeze(-1) * a).view(batch, chunks, CHUNK, inner, -1)
    added = ((dt * x).unsqueeze(-1) * b.unsqueeze(2)).view_as(log_decay)
    decay = log_decay.exp()
    state, states = added[:, :, 0], [added[:, :, 0]]
    for step in range(1, CHUNK):
        state = decay[:, :, step] * state + added[:, :, step]
        states.append(state)
    within = torch.stack(states, 2)
    since_start = log_decay.cumsum(2).exp()
    carry, carries = torch.zeros_like(state[:, 0]), []
    for chunk in range(chunks):
        carries.append(carry)
        carry = since_start[:, chunk, -1] * carry + within[:, chunk, -1]
    all_states = within + since_start * torch.stack(carries, 1).unsqueeze(2)
    y = (all_states.view(batch, length, inner, -1) @ c.unsqueeze(-1)).squeeze(-1)
    return y + d * x


class Mamba(nn.Module):
    def __init__(self, h, state=16, width=4):
        super().__init__()
        inner, self.rank, self.state = 2 * h, math.ceil(h / 16), state
        self.in_proj = nn.Linear(h, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, width, groups=inner, padding=width - 1)
        self.x_proj = nn.Linear(inner, self.rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.a_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(inner, 1))
        self.d = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, h, bias=False)
        nn.init.constant_(self.dt_proj.bias, -4.6)
        self.scan = selective_scan

    def forward(self, u):
        x, z = self.in_proj(u).chunk(2, -1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., : u.shape[1]].transpose(1, 2))
        dt, b, c = self.x_proj(x).split([self.rank, self.state, self.state], -1)
        with torch.autocast("cpu", enabled=False):
            dt = F.softplus(F.linear(dt.float(), self.dt_proj.weight, self.dt_proj.bias))
            y = self.scan(x.float(), dt, -self.a_log.exp(), b.float(), c.float(), self.d)
        return self.out_proj(y.to(z.dtype) * F.silu(z)), y


class Attention(nn.Module):
    def __init__(self, spec, window=0, cross=False):
        super().__init__()
        h, self.head_dim = spec["hidden_size"], spec["head_dim"]
        self.heads, self.kv_heads = spec["num_attention_heads"], spec["num_key_value_heads"]
        self.window, self.cross = window, cross
        self.q = nn.Linear(h, self.heads * self.head_dim, bias=False)
        self.kv = None if cross else nn.Linear(h, 2 * self.kv_heads * self.head_dim, bias=False)
        self.o = nn.Linear(self.heads * self.head_dim, h, bias=False)

    def forward(self, u, keys=None):
        b, t, _ = u.shape
        q = self.q(u).view(b, t, self.heads, self.head_dim).transpose(1, 2)
        if not self.cross:
            keys = [p.view(b, t, self.kv_heads, self.head_dim).transpose(1, 2) for p in self.kv(u).chunk(2, -1)]
        if self.window and self.window < t:
            place = torch.arange(t)
            distance = place.unsqueeze(1) - place
            mask = (distance >= 0) & (distance < self.window)
            y = F.scaled_dot_product_attention(q, *keys, attn_mask=mask, enable_gqa=True)
        else:
            y = F.scaled_dot_product_attention(q, *keys, is_causal=True, enable_gqa=True)
        return self.o(y.transpose(1, 2).reshape(b, t, -1)), keys


class Gmu(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(h, 2 * h, bias=False), nn.Linear(2 * h, h, bias=False)

    def forward(self, u, memory):
        return self.out_proj(memory.to(u.dtype) * F.silu(self.in_proj(u)))


class Layer(nn.Module):
    def __init__(self, spec, mixer):
        super().__init__()
        h, f = spec["hidden_size"], spec["intermediate_size"]
        self.norm1, self.norm2 = nn.LayerNorm(h, spec["norm_eps"]), nn.LayerNorm(h, spec["norm_eps"])
        self.mixer = mixer
        self.gate_up, self.down = nn.Linear(h, 2 * f, bias=False), nn.Linear(f, h, bias=False)
        self.scale = 1 / math.sqrt(2 * spec["num_hidden_layers"])

    def forward(self, x, *shared):
        mixed = self.mixer(self.norm1(x), *shared)
        mixed, kept = mixed if isinstance(mixed, tuple) else (mixed, None)
        x = x + mixed * self.scale
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up) * self.scale, kept


class SambaY(nn.Module):
    """The self-decoder alternates Mamba and windowed attention and ends with Mamba and full attention; the
    cross-decoder alternates gated memory and cross-attention."""

    def __init__(self, spec):
        super().__init__()
        self.spec, h = spec, spec["hidden_size"]
        half = spec["num_hidden_layers"] // 2
        mixers = []
        for i in range(spec["num_hidden_layers"]):
            if i > half + 1:
                mixers.append(Attention(spec, cross=True) if i % 2 == 1 else Gmu(h))
            elif i % 2 == 0:
                mixers.append(Mamba(h))
            else:
                mixers.append(Attention(spec, window=0 if i == half + 1 else spec["sliding_window"]))
        self.embedding = nn.Embedding(spec["vocab_size"], h)
        self.layers = nn.ModuleList(Layer(spec, mixer) for mixer in mixers)
        self.final_norm = nn.LayerNorm(h, spec["norm_eps"])
        nn.init.normal_(self.embedding.weight, std=0.02)

    def compile_layers(self):
        for layer in self.layers:
            layer.compile(dynamic=False)

    def forward(self, ids, labels):
        x = self.embedding(ids)
        memory = keys = None
        for layer in self.layers:
            if isinstance(layer.mixer, Gmu):
                x, _ = layer(x, memory)
            elif isinstance(layer.mixer, Mamba):
                x, memory = layer(x)
            elif layer.mixer.cross:
                x, _ = layer(x, keys)
            else:
                x, keys = layer(x)
        logits = F.linear(self.final_norm(x), self.embedding.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
