"""transformers on PyTorch (worker.py has the protocol). usage: transformers_worker.py MODEL_DIR THREADS

As it comes: bfloat16, SDPA, a DynamicCache, nothing compiled, a prompt in one call. The cache of a depth is made once
and copied for each run.
"""

import copy
import os
import sys
import time
import warnings
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, DynamicCache  # noqa: E402
from transformers.utils import logging  # noqa: E402
from worker import random_tokens, serve  # noqa: E402


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
    vocabulary = model.config.vocab_size
    filled = {}

    def forward(ids, cache):
        return model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)

    def cache_of(depth, sequences):
        if (depth, sequences) not in filled:
            cache = DynamicCache(config=model.config)
            if depth:
                forward(torch.tensor([random_tokens(depth, vocabulary)]), cache)
                cache.batch_repeat_interleave(sequences)
            filled[depth, sequences] = cache
        return copy.deepcopy(filled[depth, sequences])

    @torch.inference_mode()
    def run(test, generate):
        sequences = test["sequences"]
        cache = cache_of(test["depth"], sequences)
        if test["prompt"]:
            calls = [torch.tensor([random_tokens(test["prompt"], vocabulary)] * sequences)]
        else:
            tokens = random_tokens(sequences * generate, vocabulary)
            calls = torch.tensor(tokens).view(generate, sequences, 1)
        start = time.perf_counter()
        for ids in calls:
            forward(ids, cache)
        return time.perf_counter() - start

    about = {
        "version": f"transformers {version('transformers')}, torch {version('torch')}",
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    serve(about, run)


if __name__ == "__main__":
    main()
