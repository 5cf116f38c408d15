"""A study: models that differ in a few keys, their order, and what is expected of them (study.toml)."""

import json
import math
import re
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from small_study import Refusal, fathom

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass
class Comparison:
    """The loss of `lower` was below that of `higher`."""

    lower: str
    higher: str
    source: str  # where the paper says so
    published: tuple[float, float]  # the loss of `lower`, of `higher`
    setting: str  # of the published experiment


MEASURES = ("loss", "phonebook")


@dataclass
class Question:
    """Which of two models has the lower figure, where no paper has said it."""

    first: str
    second: str
    measure: str  # one of MEASURES
    text: str


@dataclass
class Phonebook:
    """Models that train on phonebooks in place of the recipe's text, and what they are asked."""

    models: list[str]
    entries: int  # of a book
    train: int  # books to train on
    valid: int  # books held out
    asked: int  # books, others again, in which a number is asked for


@dataclass
class Length:
    """What a model gets for the budget. With a budget of operations, as `fathom plan --iso-flops` says."""

    parameters: int
    non_embedding: int
    flops_per_token: float
    steps: int
    warmup_steps: int
    decay_steps: int
    tokens: int
    decode_bytes: float  # of a token decoded behind a row less one


@dataclass
class Budget:
    """What is equal for all models: operations of forward passes, by the paper's accounting, or training tokens."""

    kind: str  # "operations", "tokens"
    amount: float
    decay: float = 0.2  # share of a run's steps; of operations the paper's rule says it

    def words(self) -> str:
        if self.kind == "tokens":
            return f"{self.amount:,.0f} training tokens a run"
        return f"{self.amount:g} operations a run, as `fathom plan --iso-flops` counts them"


WARMUP = 0.05  # of a run's steps


@dataclass
class Study:
    recipe: Path
    budget: Budget
    models: dict[str, dict]  # whole specifications, by name
    overrides: dict[str, dict]  # keys of the recipe that a model has other than the rest, by name
    groups: dict[str, list[str]]
    comparisons: list[Comparison]
    questions: list[Question]
    phonebook: Phonebook | None
    sequence_length: int
    batch_tokens: int

    def choose(self, words: list[str]) -> list[list[str]]:
        """The models of each group named; a model named by itself is a group. No words: all groups."""
        chosen = []
        for word in words or list(self.groups):
            if word in self.groups:
                chosen.append(self.groups[word])
            elif word in self.models:
                chosen.append([word])
            else:
                known = ", ".join([*self.groups, *self.models])
                raise Refusal(f"there is no model or group '{word}', expected one of {known}")
        return chosen

    def answers(self, model: str) -> bool:
        """Whether it is a model of phonebooks."""
        return self.phonebook is not None and model in self.phonebook.models

    def lengths(self, program: Path, names: list[str]) -> dict[str, Length]:
        """Steps of each model by `fathom plan`."""
        with tempfile.TemporaryDirectory() as folder:
            specs = [Path(folder, f"{name}.json") for name in names]
            for spec, name in zip(specs, names):
                spec.write_text(json.dumps(self.models[name]))
            find = self._equal_tokens if self.budget.kind == "tokens" else self._equal_operations
            words = ["--context", str(self.sequence_length), "--json"]
            plans = [json.loads(fathom.ask(program, ["plan", str(spec), *words])) for spec in specs]
            return dict(zip(names, find(program, specs, plans)))

    def _equal_operations(self, program: Path, specs: list[Path], plans: list[dict]) -> list[Length]:
        amount = repr(self.budget.amount)
        words = [
            *("--iso-flops", amount, "--smallest-budget", amount),
            *("--sequence-length", str(self.sequence_length), "--batch-tokens", str(self.batch_tokens)),
        ]
        planned = json.loads(fathom.ask(program, ["plan", *map(str, specs), *words, "--json"]))
        keys = Length.__dataclass_fields__.keys() - {"decode_bytes"}
        return [
            Length(**{key: row[key] for key in keys}, decode_bytes=plan["decode_bytes"]["total"])
            for row, plan in zip(planned["models"], plans)
        ]

    def _equal_tokens(self, _program: Path, _specs: list[Path], plans: list[dict]) -> list[Length]:
        steps = max(1, round(self.budget.amount / self.batch_tokens))
        shares = [round(WARMUP * steps), round(self.budget.decay * steps)]
        lengths = []
        for plan in plans:
            counts, flops, decoded = plan["parameters"], plan["flops_per_token"]["total"], plan["decode_bytes"]["total"]
            sizes = (counts["unique"], counts["non_embedding"], flops)
            lengths.append(Length(*sizes, steps, *shares, steps * self.batch_tokens, decoded))
        return lengths


class Table:
    """A table of a TOML file, whose keys are taken one by one; those left over are refused."""

    def __init__(self, values, where: str):
        if not isinstance(values, dict):
            raise Refusal(f"{where} is not a table")
        self.values, self.where = dict(values), where

    def take(self, key: str, kind, expected: str, absent=None):
        value = self.values.pop(key, absent)
        if not isinstance(value, kind) or isinstance(value, bool):
            found = "missing" if value is None else repr(value)
            raise Refusal(f"{self.where}: {key} is {found}, expected {expected}")
        return value

    def names(self, key: str, known) -> list[str]:
        names = self.take(key, list, "a list of models")
        for name in names:
            if not isinstance(name, str) or name not in known:
                raise Refusal(f"{self.where}: {key} names {name!r}, which is no model of the study")
        return names

    def finish(self) -> None:
        for key in self.values:
            raise Refusal(f"{self.where}: unknown key {key}")


def read_toml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: {error}") from error


def read_budget(table: Table, path: Path) -> Budget:
    key = "tokens" if "tokens" in table.values else "budget"
    kind = "tokens" if key == "tokens" else "operations"
    amount = float(table.take(key, (int, float), f"a number of {kind}"))
    if not (math.isfinite(amount) and amount >= 1):
        raise Refusal(f"{path}: {key} is {amount:g}, expected at least 1")
    decay = Budget.decay
    if kind == "tokens":
        decay = float(table.take("decay", (int, float), "a share of a run's steps", absent=decay))
        if not 0 <= decay <= 1 - WARMUP:
            raise Refusal(f"{path}: decay is {decay:g}, expected 0 to {1 - WARMUP:g}")
    return Budget(kind, amount, decay)


def take_pair(table: Table, keys: tuple[str, str], models) -> list[str]:
    pair = [table.take(key, str, "the name of a model") for key in keys]
    for name in pair:
        if name not in models:
            raise Refusal(f"{table.where} names {name!r}, which is no model of the study")
    return pair


def read_comparison(values, where: str, models) -> Comparison:
    table = Table(values, where)
    lower, higher = take_pair(table, ("lower", "higher"), models)
    source = table.take("source", str, "a text")
    losses = table.take("published", list, "two losses")
    if len(losses) != 2 or not all(isinstance(loss, float) and math.isfinite(loss) for loss in losses):
        raise Refusal(f"{where}: published is {losses}, expected two losses")
    if not losses[0] < losses[1]:
        raise Refusal(f"{where}: published is {losses}, expected the first to be the lower")
    setting = table.take("setting", str, "a text")
    table.finish()
    return Comparison(lower, higher, source, (losses[0], losses[1]), setting)


def read_question(values, where: str, models, phonebook: Phonebook | None) -> Question:
    table = Table(values, where)
    first, second = take_pair(table, ("first", "second"), models)
    measure = table.take("measure", str, "a word", absent="loss")
    if measure not in MEASURES:
        raise Refusal(f"{where}: measure is {measure!r}, expected one of {', '.join(MEASURES)}")
    answering = [] if phonebook is None else phonebook.models
    if measure == "phonebook" and not {first, second} <= set(answering):
        raise Refusal(f"{where}: measure is 'phonebook', and not both models are in phonebook.models")
    text = table.take("text", str, "a text")
    table.finish()
    return Question(first, second, measure, text)


def read_phonebook(values, where: str, models) -> Phonebook:
    table = Table(values, where)
    names = table.names("models", models)
    entries = table.take("entries", int, "a number of entries")
    if entries < 3:
        raise Refusal(f"{where}: entries is {entries}, expected at least 3")
    counts = {key: table.take(key, int, "a number of books") for key in ("train", "valid", "asked")}
    for key, count in counts.items():
        # `fathom eval` draws four measurements of as many batches, each of four books.
        if count < 16 or count % 16 != 0:
            raise Refusal(f"{where}: {key} is {count}, expected a multiple of 16")
    table.finish()
    return Phonebook(names, entries, **counts)


def read_study(path: Path) -> Study:
    """Reads `path` and the recipe that it names, which lies beside it."""
    table = Table(read_toml(path), str(path))
    recipe = path.parent / table.take("recipe", str, "the file name of a recipe")
    budget = read_budget(table, path)
    shared = read_toml(recipe)
    base = Table(shared.get("model"), f"{recipe}: model").values
    models, overrides = {}, {}
    for name, differences in table.take("models", dict, "a table of models").items():
        if not NAME.fullmatch(name):
            raise Refusal(f"{path}: models.{name} is not made of letters, digits, '.', '_' and '-'")
        model = Table(differences, f"{path}: models.{name}")
        overrides[name] = model.take("recipe", dict, "a table of the recipe's keys", absent={})
        models[name] = base | model.values | {"model_type": "fathom"}
        try:
            json.dumps([models[name], overrides[name]])
        except TypeError as error:
            raise Refusal(f"{path}: models.{name} holds a value that no model has: {error}") from error
    groups = {}
    for i, values in enumerate(table.take("groups", list, "a list of tables")):
        group = Table(values, f"{path}: groups[{i}]")
        name = group.take("name", str, "a text")
        if name in groups or name in models:
            raise Refusal(f"{path}: groups[{i}] is called {name!r}, as another group or model is")
        groups[name] = group.names("models", models)
        group.finish()
    comparisons = [
        read_comparison(values, f"{path}: comparisons[{i}]", models)
        for i, values in enumerate(table.take("comparisons", list, "a list of tables"))
    ]
    book = table.take("phonebook", dict, "a table", absent={})
    phonebook = read_phonebook(book, f"{path}: phonebook", models) if book else None
    questions = [
        read_question(values, f"{path}: questions[{i}]", models, phonebook)
        for i, values in enumerate(table.take("questions", list, "a list of tables", absent=[]))
    ]
    table.finish()
    data = Table(shared.get("data"), f"{recipe}: data")
    train = Table(shared.get("train"), f"{recipe}: train")
    sequence_length = data.take("sequence_length", int, "a number of tokens")
    rows = train.take("rows", int, "a number of rows")
    batches = train.take("accumulation", int, "a number of micro-batches", absent=1)
    batch_tokens = rows * batches * sequence_length
    found = (comparisons, questions, phonebook)
    return Study(recipe, budget, models, overrides, groups, *found, sequence_length, batch_tokens)
