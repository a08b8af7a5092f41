"""Answers that are on disk before their task is done: a stopped run, or one whose server died, loses half a minute."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

from teacherlm.core.keys import digest
from teacherlm.evaluate.scorer import About, Asked, Scorer, Tell, Written
from teacherlm.lm.score import LogLikelihood

J = TypeVar("J")
T = TypeVar("T", LogLikelihood, Written)

SLICE_S = 30.0
"""Seconds of work that may be lost: requests are handed over in slices of about that."""

FIRST = 512
"""Requests of the first slice, from which the rate is learned. What is not more than that is asked at once."""


class KeptScorer:
    """A `Scorer` that asks another one, a slice at a time, and keeps its answers until `forget`.

    Answers count for the model that gave them, wherever they were asked for. A server that does not tell which weights
    it has is asked anew by each `KeptScorer`.

    Args:
        file: of the answers; its folder is made when there are some.
        first: requests of the first slice.
    """

    def __init__(self, scorer: Scorer, file: Path, *, first: int = FIRST) -> None:
        self._scorer, self._file, self._first = scorer, file, first
        self._of = digest([self.about.fingerprint, self.about.dtype, self.about.window])
        self._known = dict(_read(file, self._of)) if self.about.sha is not None else {}
        self._rates: dict[str, float] = {}

    @property
    def about(self) -> About:
        """Which model it is."""
        return self._scorer.about

    def loglikelihoods(self, requests: Sequence[tuple[str, str]], tell: Tell) -> list[LogLikelihood]:
        """See `Scorer`."""
        return self._asked("options", requests, list, self._scorer.loglikelihoods, LogLikelihood, tell)

    def generate(self, asked: Sequence[Asked], tell: Tell) -> list[Written]:
        """See `Scorer`."""
        return self._asked("texts", asked, astuple, self._scorer.generate, Written, tell)

    def forget(self) -> None:
        """Remove the file: what was asked is kept elsewhere by now, or is to be asked again."""
        self._known = {}
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _asked(
        self,
        kind: str,
        jobs: Sequence[J],
        parts: Callable[[J], Any],
        ask: Callable[[Sequence[J], Tell], list[T]],
        make: Callable[..., T],
        tell: Tell,
    ) -> list[T]:
        if len(jobs) <= self._first and not self._known:
            return ask(jobs, tell)
        keys = [digest([self._of, kind, parts(job)]) for job in jobs]
        found = {key: make(*self._known[key]) for key in keys if key in self._known}
        waiting = [place for place, key in enumerate(keys) if key not in found]
        known = len(jobs) - len(waiting)
        while waiting:
            size = round(self._rates[kind] * SLICE_S) if kind in self._rates else self._first
            now, waiting = waiting[: max(1, size)], waiting[max(1, size) :]
            began = time.monotonic()
            answers = ask([jobs[place] for place in now], _after(len(jobs) - len(waiting) - len(now), tell))
            self._rates[kind] = len(now) / max(1e-6, time.monotonic() - began)
            new = {keys[place]: answer for place, answer in zip(now, answers, strict=True)}
            found |= new
            # Of a task that is whole the caller keeps the answers.
            if waiting:
                self._keep(new)
        if known == len(jobs):
            tell(known)
        return [found[key] for key in keys]

    def _keep(self, answers: dict[str, T]) -> None:
        lines = [json.dumps({"of": self._of, "key": key, "answer": astuple(one)}) for key, one in answers.items()]
        # A full disk is told of where it matters, by whoever writes the results.
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                # A line that an earlier end cut short is ended first.
                file.write("\n" + "\n".join(lines) + "\n")


def _after(before: int, tell: Tell) -> Tell:
    return lambda done: tell(before + done)


def _read(file: Path, of: str) -> Iterator[tuple[str, list[Any]]]:
    """The answers of a model by key; a line that was cut short is none."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        with suppress(ValueError):
            row = json.loads(line) if line else {}
            if row.get("of") == of:
                yield row["key"], row["answer"]
