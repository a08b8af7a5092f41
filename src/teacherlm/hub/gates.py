"""Why a publication is refused. There is no way round."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import GateFailed, Problem
from teacherlm.hub.publication import Publication, first_of, rows_of

if TYPE_CHECKING:
    import pyarrow as pa

SECRETS = (
    r"\bhf_[A-Za-z0-9]{20,}"
    r"|\bsk-(?:[A-Za-z0-9_]{20,}|(?:proj|ant|or|svcacct|admin)-[A-Za-z0-9_-]{20,})"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY"
)
"""Texts that open doors: tokens of Hugging Face, of OpenAI and its likes, of AWS, and private keys.

Both RE2 (over columns) and Python (over files) read this pattern.
"""

_MOST = 20
"""Secrets named one by one; more are counted."""


class Refused(GateFailed):
    """All reasons at once why nothing was published. Exit 1."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._problems = list(problems)
        count = len(self._problems)
        super().__init__(f"{count} reason{'s' if count != 1 else ''} against publishing; nothing was published")

    @property
    def problems(self) -> list[Problem]:
        return list(self._problems)

    def __str__(self) -> str:
        return self.found + "\n\n" + "\n".join(str(problem) for problem in self._problems)


def hold(publications: Sequence[Publication]) -> None:
    """Let the publications pass, or say everything that stands against them.

    Raises:
        Refused: a report has not passed, something has changed since, the contract is broken, a licence forbids it, a
            training format would hold text that is left out, or a file holds a secret.
    """
    if problems := [problem for publication in publications for problem in _against(publication)]:
        raise Refused(problems)


def hold_files(texts: Mapping[str, str]) -> None:
    """Let files pass whose text comes from several datasets.

    Raises:
        Refused: one of them holds a secret.
    """
    edit = "take it out of the recipe or of catalog.yaml, and withdraw it"
    if found := [name for name, text in texts.items() if re.search(SECRETS, text)]:
        raise Refused([Problem(name, "it looks as if it held a secret", edit) for name in found])


def _against(publication: Publication) -> Iterator[Problem]:
    name = publication.dataset
    yield from _failed_gates(publication)
    for what in publication.changed:
        yield Problem(name, f"{what} has changed since the check", f"run `teacherlm check {name}` again")
    yield from publication.broken
    if publication.closed and not publication.alone:
        yield Problem(
            name,
            f"the licence of the source ({publication.license}) is {publication.redistribution}: "
            "its text may not be passed on",
            f"record who checked the licence, when and on what basis, in catalog.yaml:  "
            f"licences: {{{name}: {{by: NAME, on: YYYY-MM-DD, basis: WHY}}}}\n"
            "    or publish the rationales alone",
        )
    if publication.formats and publication.alone:
        yield _against_formats(publication)
    for path, text in publication.files.items():
        if re.search(SECRETS, text):
            yield Problem(name, f"`{path}` looks as if it held a secret", "take it out of the file, and withdraw it")


def _against_formats(publication: Publication) -> Problem:
    """A training format holds the question: it is not for rationales that are published alone."""
    name, wanted = publication.dataset, ", ".join(publication.formats or ())
    found = f"the rationales are published alone, and a training format ({wanted}) holds the text of the source"
    if not publication.closed:
        return Problem(name, found, "leave --as out for this dataset, or leave --rationales-only out")
    found += f", whose licence ({publication.license}) is {publication.redistribution}"
    edit = (
        "leave --as out for this dataset, or record who checked the licence, when and on what basis, in catalog.yaml:  "
        f"licences: {{{name}: {{by: NAME, on: YYYY-MM-DD, basis: WHY}}}}"
    )
    return Problem(name, found, edit)


def _failed_gates(publication: Publication) -> Iterator[Problem]:
    name, report = publication.dataset, publication.report
    failed = [gate for gate in rows_of(report, "gates") if gate.get("passed") is False]
    again = f"mend it and run `teacherlm check {name}` again"
    for gate in failed:
        called = first_of(gate, "gate", "name", "id") or "without a name"
        value, limit = first_of(gate, "value", "found"), first_of(gate, "limit", "threshold")
        said = [
            f"{word} {_short(number)}" for word, number in (("found", value), ("limit", limit)) if number is not None
        ]
        what = f"the gate `{called}` has failed" + (f": {', '.join(said)}" if said else "")
        yield Problem(name, what, str(first_of(gate, "remedy", "edit") or again))
    if report.get("passed") is not True and not failed:
        found = "the report has not passed" if "passed" in report else "there is no report of a check that passed"
        yield Problem(name, found, f"run `teacherlm check {name}` and mend what it names")


def _short(number: Any) -> str:
    return f"{number:.4g}" if isinstance(number, float) else str(number)


class SecretScan:
    """Looks for secrets in the rows as they stream by, and remembers where, never what."""

    def __init__(self, dataset: str) -> None:
        self._dataset = dataset
        self._found: list[tuple[str, str]] = []
        self._more = 0

    def look(self, table: pa.Table) -> None:
        """Search every text column of a table that has a `sample_id`."""
        import pyarrow.compute as pc

        for column in table.column_names:
            for row in _rows_with_secret(table.column(column)):
                if len(self._found) == _MOST:
                    self._more += 1
                    continue
                sample = table.column("sample_id").slice(row, 1)
                # An id may be the very text that must not be shown.
                masked = pc.replace_substring_regex(sample, pattern=SECRETS + r"\S*", replacement="***")
                self._found.append((column, masked[0].as_py()))

    def hold(self) -> None:
        """Raises:
        Refused: rows hold secrets; names dataset, column and sample.
        """
        edit = "take it out of the source or the rationale, withdraw the secret, and check again"
        where = self._dataset
        problems = [
            Problem(where, f"`{column}` of sample `{sample}` looks as if it held a secret", edit)
            for column, sample in self._found
        ]
        if self._more:
            problems.append(Problem(where, f"{self._more} more cells look as if they held a secret", edit))
        if problems:
            raise Refused(problems)


def _rows_with_secret(column: pa.ChunkedArray) -> list[int]:
    """Positions of the rows whose text, or one of whose texts, matches; none for other types."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
        hits = pc.match_substring_regex(pc.list_flatten(column), SECRETS)
        return sorted(set(pc.list_parent_indices(column).filter(hits).to_pylist()))
    if pa.types.is_string(column.type):
        return list(pc.indices_nonzero(pc.match_substring_regex(column, SECRETS).fill_null(False)).to_pylist())
    return []
