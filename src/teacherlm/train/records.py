"""The records of a stage's data: questions of the curriculum, or what the caller opens. One at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import teacherlm.curriculum
from teacherlm.core.errors import Mistake
from teacherlm.core.keys import canonical, digest, folder_digest
from teacherlm.train.declaration import Data, Procedural

Record = Mapping[str, Any]
"""A sample's columns and its accepted rationales, None where there is none."""
Opener = Callable[[Data], Iterator[Record]]
"""Opens `dataset`, `collection` and `published`. May have a method `fingerprint(data) -> str`, equal exactly where the
records are; without one they are read to tell."""


def records(data: Data, open_records: Opener, seed: str) -> Iterator[Record]:
    """The records that a stage reads of one source, in the source's order.

    Args:
        seed: draws those that `at_most` lets through, each with the same chance; the source is then read twice.

    Source: selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S).
    """
    if data.at_most is None:
        yield from _all(data, open_records)
        return
    left = data.procedural.count if data.procedural else sum(1 for _ in _all(data, open_records))
    wanted = min(data.at_most, left)
    source = random.Random(seed)
    for record in _all(data, open_records):
        if not wanted:
            return
        if source.random() * left < wanted:
            wanted -= 1
            yield record
        left -= 1


def fingerprint(data: Data, open_records: Opener) -> str:
    """Equal exactly where a source gives the same records."""
    if data.procedural is not None:
        code = folder_digest(Path(teacherlm.curriculum.__file__).parent, "*.py")
        asked = data.procedural
        return digest([code, list(asked.families), asked.split, asked.count, asked.seed])
    known: Callable[[Data], str] | None = getattr(open_records, "fingerprint", None)
    if known is not None:
        return known(data)
    import hashlib

    seen = hashlib.sha256()
    for record in open_records(data):
        seen.update(canonical({name: record.get(name) for name in _READ}))
    return seen.hexdigest()


def shown(data: Data) -> str:
    """A source in a few words, for messages."""
    if data.procedural is not None:
        return f"procedural, split {data.procedural.split}"
    kind = "dataset" if data.dataset else "collection" if data.collection else "published"
    return f"{kind} {data.dataset or data.collection or data.published}, split {data.split}"


_READ = ("sample_id", "question", "choices", "answer", "fundamentals", "chain_of_thought", "common_mistakes")


def _all(data: Data, open_records: Opener) -> Iterator[Record]:
    if data.procedural is None:
        return open_records(data)
    if data.where is not None:
        raise Mistake("`where` does not reach questions that are made", "take it out, or name families and a split")
    return _made(data.procedural)


def _made(asked: Procedural) -> Iterator[Record]:
    from teacherlm.curriculum.draw import questions
    from teacherlm.curriculum.families import families
    from teacherlm.curriculum.records import record

    for question in questions(families(asked.families), asked.split, asked.count, asked.seed):
        yield record(question, asked.split)
