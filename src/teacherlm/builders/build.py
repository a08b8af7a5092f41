"""Build: the rows of a source become samples, in one streaming pass; bad rows are counted by reason and kept aside."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from teacherlm.builders.mapping import BoundRecipe, connect, mapped_query
from teacherlm.builders.rows import draw, gather_rejects, set_aside, sql_path, write_rows
from teacherlm.builders.sources import OpenSource
from teacherlm.builders.take import Take
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.core.files import read_json, replacing_folder, write_json
from teacherlm.core.keys import digest
from teacherlm.schemas.records import SCHEMA_VERSION
from teacherlm.text.normalise import SQL_MACROS

MANIFEST = "manifest.json"

MEMORY = "700MB"
"""DuckDB's part of a build's memory; beyond it, it spills into the folder that is being written."""


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """What became of the rows of one split: rows = samples + filtered + the sum of rejected + left."""

    split: str
    rows: int
    samples: int
    filtered: int
    """Rows that the recipe's `where` leaves out."""
    rejected: dict[str, int]
    """Reason -> rows; the rows themselves are in `rejects.parquet`."""
    left: int = 0
    """Good rows that were not drawn, where a part was taken."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """The manifest of a build."""

    dataset: str
    place: str
    fingerprint: str
    """Of all that the samples depend on: recipe, source rows, record contract, the part taken."""
    splits: tuple[SplitCounts, ...]
    mapping: str = ""
    """Of the recipe's part in the fingerprint."""
    skipped: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    reused: bool = False
    """Nothing had changed; the samples of an earlier build were kept."""

    @property
    def samples(self) -> int:
        return sum(part.samples for part in self.splits)

    @property
    def rejected(self) -> int:
        return sum(sum(part.rejected.values()) for part in self.splits)

    @property
    def left(self) -> int:
        return sum(part.left for part in self.splits)


def read_manifest(folder: Path) -> Built | None:
    """The manifest of the samples in `folder`; None where nothing was built."""
    data = read_json(folder / MANIFEST)
    if data is None:
        return None
    try:
        data["splits"] = tuple(SplitCounts(**part) for part in data["splits"])
        return Built(**{**data, "skipped": tuple(data["skipped"]), "absent": tuple(data["absent"])})
    except (KeyError, TypeError) as error:
        raise MachineFailed(
            f"is no manifest of samples ({type(error).__name__}: {error})",
            f"build it again: teacherlm build {folder.name} --force",
            str(folder / MANIFEST),
        ) from None


def mapping_fingerprint(bound: BoundRecipe) -> str:
    """Fingerprint of how the recipe makes samples of rows."""
    return digest([SCHEMA_VERSION, SQL_MACROS, mapped_query(bound.recipe, "split")])


def build_fingerprint(bound: BoundRecipe, source: OpenSource, take: Take | None = None) -> str:
    """Fingerprint of all that the samples depend on."""
    source = _taken(source, take)
    parts: list[Any] = [mapping_fingerprint(bound), source.fingerprint]
    if take and take.at_most is not None:
        parts += [take.at_most, take.seed]
    return digest(parts)


def build(
    bound: BoundRecipe,
    source: OpenSource,
    out: Path,
    *,
    take: Take | None = None,
    threads: int | None = None,
    force: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Built:
    """Make the samples of a recipe.

    Memory does not grow with the number of rows: what does not fit is spilled to disk.

    Args:
        out: folder of the dataset's samples; it is replaced whole, or left as it was. It holds `SPLIT/00000.parquet`,
            `rejects.parquet` and `manifest.json` afterwards.
        take: the part of the samples to keep; None: all.
        threads: of DuckDB; None: as many as there are cores. The files are the same, byte for byte.
        force: build also where nothing has changed.

    Raises:
        Mistake: the source has none of the splits to take.
        Mistakes: expressions that do not fit the source's columns or rows, with their places.
        MachineFailed: the disk is full or refuses.
    """
    source = _taken(source, take)
    fingerprint = build_fingerprint(bound, source, take)
    earlier = None if force else read_manifest(out)
    if earlier and earlier.fingerprint == fingerprint and _is_whole(earlier, out):
        return Built(**{**_shallow(earlier), "reused": True, "skipped": source.skipped, "absent": source.absent})
    kept = {part.split for part in source.splits}
    if earlier and (gone := [part.split for part in earlier.splits if part.split not in kept]):
        tell(f"{bound.name}: this build takes the place of the last one; its splits {', '.join(gone)} are gone")
    connection = connect(threads)
    with replacing_folder(out) as folder:
        spilled = folder / ".spilled"
        connection.execute(f"SET temp_directory = '{sql_path(spilled)}'; SET memory_limit = '{MEMORY}'")
        counts = []
        for part in source.splits:
            tell(f"{bound.name} {part.split}: reading {source.place}")
            good = write_rows(bound, part, connection, folder)
            rows, filtered, rejected = set_aside(bound, part, connection, folder, good)
            samples = rows - filtered - sum(rejected.values())
            counts.append(
                SplitCounts(split=part.split, rows=rows, samples=samples, filtered=filtered, rejected=rejected)
            )
        gather_rejects(connection, folder)
        if take and take.at_most is not None and sum(part.samples for part in counts) > take.at_most:
            drawn = draw(take, [part.split for part in counts], connection, folder)
            counts = [
                SplitCounts(**{**_shallow(part), "samples": kept, "left": part.samples - kept})
                for part, kept in zip(counts, drawn, strict=True)
            ]
        connection.close()  # what was spilled to disk goes with it
        shutil.rmtree(spilled, ignore_errors=True)
        built = Built(
            dataset=bound.name,
            place=source.place,
            fingerprint=fingerprint,
            mapping=mapping_fingerprint(bound),
            splits=tuple(counts),
            skipped=source.skipped,
            absent=source.absent,
        )
        write_json(folder / MANIFEST, asdict(built))
    return built


def _taken(source: OpenSource, take: Take | None) -> OpenSource:
    """The source without the splits that are not taken."""
    if take is None or take.splits is None:
        return source
    parts = tuple(part for part in source.splits if part.split in take.splits)
    if not parts:
        there, wanted = ", ".join(part.split for part in source.splits), ", ".join(take.splits)
        raise Mistake(f"holds the splits {there}; to be taken: {wanted}", "name splits that are there", source.place)
    present = [part.split for part in source.splits]
    missing = tuple(name for name in take.splits if name not in present and name not in source.absent)
    return OpenSource(source.place, parts, source.skipped, source.absent + missing)


def _is_whole(built: Built, folder: Path) -> bool:
    """Whether every sample that the manifest counts is still there."""
    import pyarrow.parquet

    try:
        return all(
            sum(pyarrow.parquet.read_metadata(path).num_rows for path in (folder / part.split).glob("*.parquet"))
            == part.samples
            for part in built.splits
        )
    except (OSError, ValueError):  # Arrow's errors are ValueErrors
        return False


def _shallow(record: Built | SplitCounts) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
