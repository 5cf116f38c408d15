"""What the peers' processes have in common: tests in, seconds out.

A worker prints a line of JSON about itself, then answers each line {"prompt", "generate", "depth", "sequences"} on
standard input by {"seconds": s}, or by {"error": "..."} where it cannot. A test is that of `fathom bench`: a prompt of
`prompt` tokens in one prefill, or `generate` tokens decoded one by one by each of `sequences` side by side, behind
`depth` tokens whose keys and values every sequence has for itself. Tokens are random; nothing is sampled. The first
time a test comes it runs once untimed, as there: a prompt whole, of a generation one token.
"""

import json
import random
import sys


def random_tokens(count: int, vocabulary: int):
    draw = random.Random(2)
    return [draw.randrange(vocabulary) for _ in range(count)]


def serve(about: dict, run):
    """`run(test, generate)` makes the test once, of `generate` tokens, and returns its seconds."""
    print(json.dumps(about), flush=True)
    warm = set()
    for line in sys.stdin:
        test = json.loads(line)
        try:
            if line not in warm:
                run(test, min(test["generate"], 1))
                warm.add(line)
            answer = {"seconds": run(test, test["generate"])}
        except Exception as error:  # of whatever library
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
