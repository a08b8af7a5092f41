"""Where something is published: `hf://datasets/ORG/REPO[@REVISION]`, or a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass

from teacherlm.core.errors import Mistake

SCHEME = "hf://"
MAIN = "main"

_FORM = re.compile(
    r"hf://datasets/(?P<org>[\w-][\w.-]*)/(?P<name>[\w-][\w.-]*?)(?:@(?P<revision>[^@\s]+))?/?", re.ASCII
)


@dataclass(frozen=True)
class Address:
    """A dataset repository on the Hub, at a revision."""

    repository: str
    """`ORG/REPO`."""
    revision: str | None = None
    """Branch, tag or commit; None: the main branch."""

    def __str__(self) -> str:
        return f"{SCHEME}datasets/{self.repository}" + (f"@{self.revision}" if self.revision else "")


def is_hub(place: str) -> bool:
    """Whether a place is meant to be on the Hub."""
    return place.startswith(SCHEME)


def parse(place: str, where: str = "--to") -> Address:
    """The repository that `hf://datasets/ORG/REPO[@REVISION]` names.

    Raises:
        Mistake: it has another form.

    >>> parse("hf://datasets/org/explained@v1")
    Address(repository='org/explained', revision='v1')
    """
    match = _FORM.fullmatch(place)
    if match is None:
        raise Mistake(
            f'"{place}" names no dataset repository', "write  hf://datasets/ORG/REPO  or  …/REPO@BRANCH", where
        )
    return Address(f"{match['org']}/{match['name']}", match["revision"])
