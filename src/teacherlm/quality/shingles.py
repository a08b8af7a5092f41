"""Texts as sets of word sequences: one normal form for all that compares texts with one another.

A word is a run of letters, a run of digits, or one character of a script that puts no blanks between words; case,
punctuation and blanks do not count. DuckDB takes texts apart and gives each word as a number; sequences of them are
made of whole columns at a time with numpy, a list per text would cost ten times as much.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from teacherlm.quality.messages import machine

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Numbers = npt.NDArray[np.uint64]
    Offsets = npt.NDArray[np.int64]

WORD = r"\p{N}+|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[\p{L}\p{M}]+"
"""What a word is, for RE2; the same as in quality/metrics."""

QUESTION = "question || ' ' || array_to_string(list_sort(choices), ' ')"
"""A sample's question as one text. The order of the options does not make another question."""

BATCH = 20_000
"""Texts at a time."""

_MULTIPLIER, _MIX = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9
"""Odd numbers that spread bits (splitmix64, Steele, Lea and Flood 2014)."""


def words_sql(text: str) -> str:
    """SQL for the words of a text column, in order: small letters, characters composed."""
    # Most texts are ASCII, which has no two forms of a character.
    composed = f"if(strlen({text}) = length({text}), {text}, nfc_normalize({text}))"
    return f"regexp_extract_all(lower({composed}), '{WORD}')"


def batches(con: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    """The rows of a query, some at a time; no other query may run on the connection meanwhile.

    Raises:
        MachineFailed: memory or disk did not suffice.
    """
    import duckdb

    try:
        yield from con.sql(query).to_arrow_reader(BATCH)
    except duckdb.OperationalError as error:
        raise machine(error) from error


def flat(column: Any) -> tuple[Numbers, Offsets]:
    """A column of lists of numbers as one array and the place in it where each list begins, and the last ends."""
    import numpy as np

    values: Numbers = column.flatten().to_numpy(zero_copy_only=False).astype(np.uint64, copy=False)
    offsets: Offsets = column.offsets.to_numpy().astype(np.int64)
    return values, offsets - offsets[0]


def shingles(words: Numbers, offsets: Offsets, size: int) -> tuple[Numbers, Offsets]:
    """The sequences of `size` words of every text, each as one number; a shorter text is one sequence.

    Args:
        words: shape (words of all texts,).
        offsets: shape (texts + 1,), from 0; see `flat`.

    Returns:
        The same form: as many numbers as sequences, in order and with repetitions. A text without words has none.

    >>> import numpy as np
    >>> made, ends = shingles(np.array([1, 2, 3, 1, 2, 9], np.uint64), np.array([0, 5, 6]), 2)
    >>> ends.tolist(), bool(made[0] == made[3]), len(set(made.tolist()))
    ([0, 4, 5], True, 4)
    """
    import numpy as np

    lengths = np.diff(offsets)
    counts = np.where(lengths == 0, 0, np.maximum(lengths - size + 1, 1))
    ends = np.concatenate([[0], np.cumsum(counts)])
    # Where each sequence begins among all words: its number among the text's sequences, after the text's first word.
    begins = np.arange(ends[-1]) + np.repeat(offsets[:-1] - ends[:-1], counts)
    last = np.repeat(offsets[1:], counts) - 1
    made = np.zeros(ends[-1], np.uint64)
    for step in range(size):
        # A short text's missing words count as 0, so that sequences of different lengths stay apart.
        there = begins + step <= last
        word = np.where(there, words[np.minimum(begins + step, last)], np.uint64(0)) if len(words) else made
        made = (made ^ (made >> np.uint64(29))) * np.uint64(_MIX) + word * np.uint64(_MULTIPLIER)
    made ^= made >> np.uint64(32)
    return made, ends.astype(np.int64)
