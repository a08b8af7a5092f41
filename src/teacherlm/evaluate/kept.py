"""Answers that are on disk before their task is done: a stopped run, or one whose server died, loses half a minute."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

from teacherlm.core.files import write_text
from teacherlm.core.keys import digest
from teacherlm.evaluate.scorer import About, Asked, Scorer, Tell, Written
from teacherlm.lm.score import LogLikelihood

J = TypeVar("J")
T = TypeVar("T", LogLikelihood, Written)

SLICE_S = 30.0
"""Seconds of work that may be lost: requests are handed over in slices of about that."""

FIRST = 64
"""Requests of the first slice; each is twice the one before until it takes that long."""


class KeptScorer:
    """A `Scorer` that asks another one, a slice at a time, and keeps its answers until `forget`.

    Answers count for the model that gave them, wherever they were asked for. A server that does not tell which weights
    it has is asked anew by each `KeptScorer`.

    Args:
        file: of the answers; its folder is made when there are some.
        first: requests of the first slice.
        whole: keep the answers of whole tasks as well, which nobody else does.
    """

    def __init__(self, scorer: Scorer, file: Path, *, first: int = FIRST, whole: bool = False) -> None:
        self._scorer, self._file, self._whole = scorer, file, whole
        self._of = digest([self.about.fingerprint, self.about.dtype, self.about.window])
        self._known = dict(_read(file, self._of)) if self.about.sha is not None else {}
        self._asked_for: set[str] = set()
        self._sizes = {"options": first, "texts": first}

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
        """Remove the answers to what was asked: they are kept elsewhere by now. Those to other tasks stay."""
        with suppress(OSError):
            lines = self._file.read_text(encoding="utf-8", errors="replace").splitlines()
            others = [line for line in lines if (row := _row(line)) and row[1] not in self._asked_for]
            if others:
                write_text(self._file, "\n".join(others) + "\n")
            else:
                self._file.unlink()

    def _asked(
        self,
        kind: str,
        jobs: Sequence[J],
        parts: Callable[[J], Any],
        ask: Callable[[Sequence[J], Tell], list[T]],
        make: Callable[..., T],
        tell: Tell,
    ) -> list[T]:
        keys = [digest([self._of, kind, parts(job)]) for job in jobs]
        self._asked_for.update(keys)
        found = {}
        for key in keys:
            # A line that somebody else wrote may have other parts.
            with suppress(KeyError, TypeError):
                found[key] = make(*self._known[key])
        waiting = [place for place, key in enumerate(keys) if key not in found]
        known = len(jobs) - len(waiting)
        while waiting:
            size = self._sizes[kind]
            now, waiting = waiting[:size], waiting[size:]
            began = time.monotonic()
            answers = ask([jobs[place] for place in now], _after(len(jobs) - len(waiting) - len(now), tell))
            in_time = round(len(now) * SLICE_S / max(1e-6, time.monotonic() - began))
            self._sizes[kind] = max(1, min(in_time, 2 * size))
            new = {keys[place]: answer for place, answer in zip(now, answers, strict=True)}
            found |= new
            self._known |= {key: list(astuple(answer)) for key, answer in new.items()}
            # Of a task that is whole the caller keeps the answers; those of weights that are not known nobody can use.
            if (waiting or self._whole) and self.about.sha is not None:
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
    """The answers of a model by key."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        row = _row(line)
        if row is not None and row[0] == of:
            yield row[1], row[2]


def _row(line: str) -> tuple[str, str, list[Any]] | None:
    """Model, key and answer; a line that was cut short, or that somebody else wrote, is none."""
    try:
        row = json.loads(line)
        return str(row["of"]), str(row["key"]), list(row["answer"])
    except (ValueError, KeyError, TypeError):
        return None
