"""Errors for people: where, what was found, what to do; and the exit code that each kind of failure has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One mistake in something that was given."""

    where: str
    """`file:line:column`, or the option or argument that was given."""
    found: str
    """What was found there, in one sentence."""
    edit: str = ""
    """The change that mends it."""

    def __str__(self) -> str:
        return f"{self.where}   {self.found}" + (f"\n    {self.edit}" if self.edit else "")


class TeacherlmError(Exception):
    """Base of all errors that a person can do something about."""

    exit_code = 4
    what = "failed"

    def __init__(self, found: str, remedy: str = "", where: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy
        self.where = where

    @property
    def problems(self) -> list[Problem]:
        """The places concerned; one for most errors."""
        return [Problem(self.where, self.found, self.remedy)]

    def __str__(self) -> str:
        where = f"{self.where}   " if self.where else ""
        return f"{where}{self.found}" + (f"\n    {self.remedy}" if self.remedy else "")


class GateFailed(TeacherlmError):
    """A gate, or the books, stop what was asked. Exit 1."""

    exit_code = 1
    what = "gate"


class Mistake(TeacherlmError):
    """Something that was given is wrong; nothing was run. Exit 2."""

    exit_code = 2
    what = "mistake"


class Mistakes(Mistake):
    """All mistakes of the declared files at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._problems = list(problems)
        count = len(self._problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''}; nothing was run")

    @property
    def problems(self) -> list[Problem]:
        return list(self._problems)

    def __str__(self) -> str:
        return self.found + "\n\n" + "\n".join(str(problem) for problem in self._problems)


class RemoteFailed(TeacherlmError):
    """A teacher or the Hub failed. Exit 3."""

    exit_code = 3
    what = "remote"


class MachineFailed(TeacherlmError):
    """This machine failed: disk, lock, corrupt file. Exit 4."""

    exit_code = 4
    what = "machine"


class MissingExtra(Mistake):
    """An optional part of teacherlm is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra `{extra}`", f"pip install 'teacherlm[{extra}]'")
