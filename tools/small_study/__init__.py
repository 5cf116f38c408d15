"""The parts of tools/mor-small and tools/sambay-small: what a study is, where its runs stand, their queue, their table."""


class Refusal(Exception):
    """Something from outside is not as it has to be; the message is one sentence."""
