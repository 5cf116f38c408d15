"""llama.cpp through its C API (worker.py has the protocol). usage: llama_cpp_worker.py MODEL.gguf THREADS

A context for each test, with its keys in a stream of their own for each sequence (no cell belongs to two), and the
defaults of llama.cpp for all else: keys and values in f16, flash attention as it decides, prompts in calls of 2048
tokens and pieces of 512.
"""

import sys
import time

import llama_cpp
from worker import random_tokens, serve

BATCH = 2048


def rounded_up(tokens: int) -> int:
    return (tokens + 255) // 256 * 256


class Context:
    """Holds `depth` tokens in each of its sequences between tests."""

    def __init__(self, model, vocabulary, test, threads):
        self.sequences, self.depth = test["sequences"], test["depth"]
        longest = self.depth + test["prompt"] + test["generate"]
        self.tokens = random_tokens(longest, vocabulary)
        params = llama_cpp.llama_context_default_params()
        params.n_seq_max = self.sequences
        params.n_ctx = self.sequences * rounded_up(longest)
        params.kv_unified = False
        params.n_batch = BATCH
        params.n_threads = params.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(model, params)
        if not self.context:
            raise RuntimeError("llama.cpp makes no context of that size")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        self.read([0], 0, self.depth, wanted=False)
        for sequence in range(1, self.sequences):
            llama_cpp.llama_memory_seq_cp(self.memory, 0, sequence, -1, -1)
        for sequence in range(self.sequences):
            if llama_cpp.llama_memory_seq_pos_max(self.memory, sequence) != self.depth - 1:
                raise RuntimeError(f"sequence {sequence} does not hold {self.depth} tokens")

    def read(self, sequences, start: int, end: int, wanted: bool):
        """The tokens at [start, end) of each, in calls of at most BATCH tokens; logits of the last of each."""
        per_call = BATCH // len(sequences)
        for at in range(start, end, per_call):
            to, used = min(at + per_call, end), 0
            for sequence in sequences:
                for position in range(at, to):
                    self.batch.token[used] = self.tokens[(position + 17 * sequence) % len(self.tokens)]
                    self.batch.pos[used] = position
                    self.batch.n_seq_id[used] = 1
                    self.batch.seq_id[used][0] = sequence
                    self.batch.logits[used] = wanted and position == end - 1
                    used += 1
            self.batch.n_tokens = used
            if llama_cpp.llama_decode(self.context, self.batch) != 0:
                raise RuntimeError("llama_decode failed")
        llama_cpp.llama_synchronize(self.context)

    def restore(self):
        for sequence in range(self.sequences):
            llama_cpp.llama_memory_seq_rm(self.memory, sequence, self.depth, -1)

    def run(self, test, generate: int) -> float:
        self.restore()
        everybody = list(range(self.sequences))
        start = time.perf_counter()
        if test["prompt"]:
            self.read(everybody, self.depth, self.depth + test["prompt"], wanted=True)
        for step in range(generate):
            self.read(everybody, self.depth + step, self.depth + step + 1, wanted=True)
        return time.perf_counter() - start


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, None)
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    if not model:
        sys.exit(f"llama.cpp does not load {path}")
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    contexts = {}

    def run(test, generate):
        key = tuple(test.values())
        if key not in contexts:
            contexts[key] = Context(model, vocabulary, test, threads)
        return contexts[key].run(test, generate)

    about = {
        "version": f"llama-cpp-python {llama_cpp.__version__}",
        "parameters": llama_cpp.llama_model_n_params(model),
        "system": llama_cpp.llama_print_system_info().decode().strip(),
    }
    serve(about, run)


if __name__ == "__main__":
    main()
