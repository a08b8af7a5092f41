"""What a task asks a model: its documents as requests, and the answers of the model put back beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.core.keys import digest, text_digest
from teacherlm.evaluate.documents import Item
from teacherlm.evaluate.filters import Pipeline, Where
from teacherlm.evaluate.metrics import Metric
from teacherlm.evaluate.scorer import About, Asked, Written
from teacherlm.lm.score import LogLikelihood, not_finite

MAX_GEN_TOKS = 256
"""New tokens where a task names no number, as in the harness."""

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the most new tokens; of several the first counts."""

_GENERATION = (*_LENGTHS, "until", "do_sample", "temperature", "top_p", "top_k")

Answer = tuple[float, bool] | str
"""Log-likelihood of an option and whether it is the greedy continuation; or a text."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A task with its documents, ready to be asked."""

    name: str
    alias: str
    config: Mapping[str, Any]
    """As the harness writes it into its results."""
    version: Any
    shots: int
    options: bool
    """Whether options are compared; else text is generated."""
    items: tuple[Item, ...]
    documents: int
    """Of the split, without a limit."""
    refused: int
    """Of those to ask: that lack what the task needs of them."""
    delimiter: str
    """Between context and option."""
    generation: Mapping[str, Any]
    """`generation_kwargs`, with the harness's defaults; empty where options are compared."""
    repeats: int
    metrics: tuple[Metric, ...]
    pipelines: tuple[Pipeline, ...]

    def arguments(self, item: Item) -> list[tuple[str, Any]]:
        """What the model is given for a document: one request for each option, or one for a text."""
        if self.options:
            return [(item.context, f"{self.delimiter}{choice}") for choice in item.choices]
        return [(item.context, self.generation)]

    def pairs(self) -> list[tuple[str, str]]:
        """The contexts and options of all documents, in their order."""
        return [pair for item in self.items for pair in self.arguments(item)]

    def asked(self, seed: int) -> list[Asked]:
        """The prompts of all documents, each as often as the task repeats it; repeats have seeds of their own."""
        settings = self._settings()
        draws = self.repeats if settings.do_sample else 1
        return [
            replace(settings, prompt=item.context, seed=_seed(seed, item.doc_id, repeat))
            for item in self.items
            for repeat in range(draws)
        ]

    def key(self, about: About, seed: int) -> str:
        """Of all that decides the model's answers: same key, same answers."""
        asked = text_digest("".join(_prompt(self.arguments(item)) for item in self.items))
        drawn = [seed, self.repeats] if self.generation.get("do_sample") else self.repeats
        return digest([about.fingerprint, about.dtype, about.window, asked, drawn])

    def of_options(self, found: Sequence[LogLikelihood]) -> Answers:
        """The answers of a model that was asked `pairs`.

        Raises:
            MachineFailed: one is no number.
        """
        rest = iter(found)
        answers: list[list[list[Answer]]] = []
        cut = []
        for item in self.items:
            mine = [next(rest) for _ in item.choices]
            if wrong := not_finite(mine):
                raise MachineFailed(
                    f"document {item.doc_id} has the log-likelihood {mine[wrong[0]].sum}, which compares with nothing",
                    "load the model with --dtype float32; if it stays so, its weights are damaged",
                )
            answers.append([[(one.sum, one.greedy)] * self.repeats for one in mine])
            cut.append(max((one.cut for one in mine), default=0))
        return Answers(answers, cut)

    def of_texts(self, found: Sequence[Written]) -> Answers:
        """The answers of a model that was asked `asked`."""
        draws = len(found) // max(1, len(self.items))
        answers: list[list[list[Answer]]] = []
        cut: list[int] = []
        for place in range(len(self.items)):
            mine = found[place * draws : (place + 1) * draws]
            # What is not drawn is the same each time.
            texts: list[Answer] = [one.text for one in mine]
            answers.append([texts * (self.repeats // draws)])
            cut.append(max(one.cut for one in mine))
        return Answers(answers, cut)

    def _settings(self) -> Asked:
        given = self.generation
        stops = given.get("until") or ()
        heat = given.get("temperature")
        return Asked(
            prompt="",
            max_gen_toks=int(next((given[name] for name in _LENGTHS if given.get(name) is not None), MAX_GEN_TOKS)),
            until=(stops,) if isinstance(stops, str) else tuple(stops),
            do_sample=bool(given.get("do_sample", (heat or 0) > 0)),
            temperature=None if heat is None else float(heat),
            top_p=given.get("top_p"),
            top_k=given.get("top_k"),
        )


@dataclass(frozen=True)
class Answers:
    """What a model answered to the documents of a task."""

    of: list[list[list[Answer]]]
    """By document, request and repeat."""
    cut: list[int]
    """Of each document: tokens of its context, at most, that did not fit into the window."""


def generation(declared: Mapping[str, Any] | None, delimiter: str, where: Where) -> dict[str, Any]:
    """The `generation_kwargs` of a task, with the harness's defaults.

    Args:
        delimiter: between few-shot examples; ends an answer where nothing else is named.

    Raises:
        Mistake: a setting that is unknown here; says where.
    """
    if declared is None:
        return {"temperature": 0.0, "do_sample": False, "max_gen_toks": MAX_GEN_TOKS, "until": [delimiter]}
    if strange := [name for name in declared if name not in _GENERATION]:
        raise Mistake(
            f"generation_kwargs has `{strange[0]}`, which is unknown here",
            f"use {', '.join(_GENERATION)}",
            where(("generation_kwargs", strange[0])),
        )
    found = dict(declared)
    if "temperature" in found:
        found["temperature"] = float(found["temperature"])
    found.setdefault("until", [delimiter])
    return found


def _seed(seed: int, document: int, repeat: int) -> int:
    return int(digest([seed, document, repeat])[:16], 16)


def _prompt(arguments: Sequence[tuple[str, Any]]) -> str:
    return "".join(digest(list(one)) for one in arguments)
