"""Source rows that are made: the questions of the curriculum, each split as an Arrow table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import teacherlm.curriculum
from teacherlm.core.files import disk_failure
from teacherlm.core.keys import digest, folder_digest
from teacherlm.curriculum.draw import questions
from teacherlm.curriculum.families import FAMILIES, families

if TYPE_CHECKING:
    import pyarrow as pa

    from teacherlm.builders.recipe import Recipe

TEXTS = ("id", "family", "question", "answer", "fundamentals", "chain_of_thought", "common_mistakes")
"""Columns of texts; beside them there is `choices`, a list."""

_BATCH = 5_000


@dataclass(frozen=True)
class MadeRows:
    """One split of a curriculum."""

    split: str
    families: tuple[str, ...]
    seed: int
    count: int

    @property
    def fingerprint(self) -> str:
        """Of the declaration, and of the code that makes the questions."""
        return digest([_code(), self.split, list(self.families), self.seed, self.count])

    def table(self) -> pa.Table:
        """The rows, which lie in a file without a name rather than in memory.

        Raises:
            MachineFailed: the disk that holds temporary files is full.
        """
        import pyarrow as pa

        schema = pa.schema([*((name, pa.string()) for name in TEXTS), ("choices", pa.list_(pa.string()))])
        with tempfile.TemporaryDirectory(prefix="teacherlm-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "made.arrow"
            try:
                with path.open("wb") as file, pa.ipc.new_stream(file, schema) as writer:
                    made = self._rows()
                    while rows := list(islice(made, _BATCH)):
                        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
                # The pages that are mapped stay after the file's name is gone.
                return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
            except OSError as error:
                raise disk_failure(Path(folder), error) from error

    def _rows(self) -> Iterator[dict[str, Any]]:
        for question in questions(families(self.families), self.split, self.count, self.seed):
            row = {name: getattr(question, name) for name in TEXTS}
            row["choices"] = list(question.choices)
            yield row


def rows_to_make(recipe: Recipe) -> list[MadeRows]:
    """The splits of a recipe whose source is procedural; nothing is made yet."""
    source = recipe.source.procedural
    if source is None:
        return []
    names = source.families or tuple(FAMILIES)
    return [MadeRows(split, names, source.seed, count) for split, count in source.splits.items()]


@cache
def _code() -> str:
    return folder_digest(Path(teacherlm.curriculum.__file__).parent, "*.py")
